declare module 'express4' {
  import express from 'express'
  export default express
}

declare module 'express416' {
  import express from 'express'
  export default express
}
