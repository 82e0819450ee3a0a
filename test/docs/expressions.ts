/** An expression that a native reader stumbles over, and a better one. */
export interface Expression {
  readonly pattern: RegExp
  readonly instead: string
  /** Where it may stand all the same: paths, each with all of its folder. */
  readonly mayStandIn?: readonly string[]
}

/** The house rules of language in CONTRIBUTING.md, as far as a machine can hold them. */
export const expressions: readonly Expression[] = [
  { pattern: /\b(whoever|whomever)\b/i, instead: 'a name: the client, the handler, the code that …' },
  { pattern: /\b(somebody|everybody|anybody)\b/i, instead: 'other code, another client, every client' },
  {
    pattern: /(\/\/|\/\*\*|^\s*\*|[.;] ) ?(Who|What|Of what|From what|For what)\b(?![^.]*\?)/,
    instead: 'a name: the bytes, the handler, the result of …',
  },
  {
    pattern: /\b(?:test|it|describe)\b.*?\(['"`](what|whatever|who)\b(?!.*\?)/,
    instead: 'a name: the bytes, the handler, an error that …',
  },
  {
    pattern: /\banswered\b/i,
    instead: 'responded, has a response',
  },
  { pattern: /\bnobody\b/i, instead: 'a name: no client, no listener; or the passive' },
  { pattern: /\bnone of (ours|its own)\b/i, instead: 'left alone' },
  { pattern: /\b(is|are|was|were|be|been|being) told\b|\btold of\b/, instead: 'report, send, get' },
  { pattern: /\btells? (the|its|their|a|every) (client|page|user|caller|reader)s?\b/i, instead: 'report to' },
  { pattern: /\bkept connections?\b/i, instead: 'keep-alive connection' },
  { pattern: /\bcall(s|ed|ing)? again\b/i, instead: 'retry' },
  { pattern: /\b(is|holds|has|of|and) no JSON\b|\bno JSON form\b/, instead: 'not JSON' },
  {
    pattern: /(?<!\b[Tt]here )\b(is|are) no (?!longer\b|more\b|such\b)[a-z]+/,
    instead: 'is not a …; there is no …',
  },
  {
    pattern: /\b(most|longest|fewest|least)[A-Z][a-z]+/,
    instead: 'max…, min…',
  },
  { pattern: /\bmost of the time nobody\b/, instead: 'rarely' },
]

/** In code these words are names; in prose a reader wants the other word. */
export const proseExpressions: readonly Expression[] = [
  {
    pattern: /\b(the|a|response|early) heads?\b/i,
    instead: 'headers',
    // The head is what the code calls it, and ARCHITECTURE.md names the code's words.
    mayStandIn: [
      'docs/ARCHITECTURE.md',
      'docs/FAILURE-MODES.md',
      'docs/TESTING.md',
      'docs/GUARD.md',
      'bench/README.md',
    ],
  },
]
