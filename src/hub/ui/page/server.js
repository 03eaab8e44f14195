// Questions to the hub. Paths are relative, so that the page may live below another path.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Integers that a number of JavaScript cannot hold stay what they are, digit by digit.
const exact = (_, value, context) => Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source
  ? JSON.rawJSON?.(context.source) ?? context.source : value;
export const read = text => JSON.parse(text, exact);

async function ask(method, path, body) {
  const response = await fetch(`api/v1/${path}`, {method, body: body === undefined ? undefined : JSON.stringify(body)});
  const text = await response.text();
  let value = null;
  try { value = text ? read(text) : null; } catch { /* no JSON: the status says enough */ }
  if (response.ok) return value;
  if (response.status === 401 && path !== 'login') dispatchEvent(new Event('logged-out'));
  throw new Refused(response.status, value?.error ?? `${response.status} ${response.statusText}`);
}

export const get = (path, parameters) => ask('GET', parameters && `${parameters}` ? `${path}?${parameters}` : path);
export const post = (path, body) => ask('POST', path, body);
export const remove = path => ask('DELETE', path);
