export const dynamic = 'force-dynamic'

export default function Page() {
  return <p>{'Some text. '.repeat(2_000)}</p>
}
