/** Answers in bytes: a header's length (uint32), the header as JSON, then arrays one after the other. */

/** @typedef {{ BYTES_PER_ELEMENT: number }} Sized */

/** @param {ArrayBuffer} buffer */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  /**
   * The next `n` numbers of a kind; copied, because an array of floats begins at a multiple of its width.
   * @template A
   * @param {Sized & (new (bytes: ArrayBuffer) => A)} Kind
   * @param {number} n
   */
  const take = (Kind, n) => new Kind(buffer.slice(at, at += n * Kind.BYTES_PER_ELEMENT));
  return { header, take };
}
