// Runs in SillyTavern's page: toasts are gone within seconds, a generation can be over at once, so both are noted here.
const seen = { toasts: [], generations: 0 }
window.seen = seen
const known = new WeakSet()

new MutationObserver((changes) => {
  for (const node of changes.flatMap(({ addedNodes }) => [...addedNodes])) {
    const toast = node instanceof Element && node.querySelector('.toast-message')
    if (!toast || known.has(toast)) continue
    known.add(toast)
    seen.toasts.push(toast.textContent)
  }
}).observe(document, { childList: true, subtree: true })

new MutationObserver(() => {
  if (document.body?.dataset.generating) seen.generations++
}).observe(document, { attributeFilter: ['data-generating'], subtree: true })
