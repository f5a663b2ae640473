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

/** Ask for labels: a header length (uint32), the header as JSON, then one byte a patch. */
export async function postForLabels(endpoint, content) {
  const buffer = await (await post(endpoint, content)).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const state = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { state, labels: new Uint8Array(buffer, 4 + length) };
}
