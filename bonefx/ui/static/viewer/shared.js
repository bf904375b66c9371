// What the page already has, by choice.js.
const visitor = bonefx;
const { query, write: writeAddress, allowedAddress } = visitor;
