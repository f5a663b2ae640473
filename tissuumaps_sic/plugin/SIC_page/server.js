/** What the page asks of the server. */

export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function post(endpoint, content) {
  let response;
  try {
    response = await fetch(`/plugins/SIC/${endpoint}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
    });
  } catch {
    throw new ServerError(0, "The server does not answer. Is it still running? Seeds made so far are saved.");
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = `The server answered ${response.status}.`;
  try { message = JSON.parse(text).error ?? message; } catch { /* not ours: an error page of TissUUmaps */ }
  throw new ServerError(response.status, message);
}

export const postForState = async (endpoint, content) => (await post(endpoint, content)).json();

/** Ask for bytes: a header length (uint32), the header as JSON, then arrays one after the other. */
async function postForBytes(endpoint, content) {
  const buffer = await (await post(endpoint, content)).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  // Copied, because an array of floats begins at a multiple of its width.
  const take = (Kind, n) => new Kind(buffer.slice(at, at += n * Kind.BYTES_PER_ELEMENT));
  return { header, take };
}

/** Ask for labels, one byte a patch, and the state that they belong to. */
export async function postForLabels(endpoint, content) {
  const { header, take } = await postForBytes(endpoint, content);
  return { state: header, labels: take(Uint8Array, header.n_patches) };
}

/** Ask for the score of each patch's own label and that of class 1, and for the best other class. */
export async function postForScores(content) {
  const { header: { n_patches: n }, take } = await postForBytes("scores", content);
  return { own: take(Float32Array, n), positive: take(Float32Array, n), rest: take(Uint8Array, n) };
}

/** Ask how far labels agree with another session's: where not (1 a patch), and that session's labels. */
export async function postForCompared(content) {
  const { header, take } = await postForBytes("compare", content);
  const disputed = take(Uint8Array, header.n_patches);
  return { ...header, disputed, labels: take(Uint8Array, header.n_patches) };
}

/** Ask which patches are unlike any seed (1), and how many there are. */
export async function postForUnlike(content) {
  const { header: { n_patches: n, unlike }, take } = await postForBytes("unlike", content);
  return { rows: take(Uint8Array, n), count: unlike };
}

/** Ask for a file. */
export async function postForFile(content) {
  const { header: { name, length }, take } = await postForBytes("export", content);
  return { name, bytes: take(Uint8Array, length) };
}

/** Ask for the UMAP: places in 0..1 (x, y, x, y, …), share of tissue (null: not told), colours (r, g, b, …). */
export async function postForMap(content) {
  const { header: { n_patches: n, tissue }, take } = await postForBytes("map", content);
  const places = take(Float32Array, 2 * n), shares = take(Float32Array, n);
  return { places, tissue: tissue ? shares : null, colors: take(Uint8Array, 3 * n) };
}
