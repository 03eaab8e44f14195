// Making elements, and how times and numbers are written. Text goes in as text: nothing of an alert becomes markup.

export const priorities = ['Emergency', 'Alert', 'Critical', 'Error', 'Warning', 'Notice', 'Informational', 'Debug'];

const present = child => child !== undefined && child !== null && child !== false;

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'style') for (const [key, style] of Object.entries(value)) element.style.setProperty(key, style);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter(present));
  return element;
}

export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const svg = (tag, properties, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), properties, children);

export const put = (element, ...children) => element.replaceChildren(...children.flat(Infinity).filter(present));
export const show = (...children) => put(document.getElementById('main'), ...children);

// What a screen reader is told.
export function say(text) {
  document.getElementById('status').textContent = text;
}

// A value of a field as text.
export const plain = value => typeof value === 'string' ? value : JSON.stringify(value);

export const number = n => n.toLocaleString('en');

const two = n => String(n).padStart(2, '0');
export const day = at => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
export const clock = at => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
// In the browser's zone; with milliseconds since 1970 or what an alert has.
export function time(value) {
  const at = new Date(value);
  return isNaN(at) ? String(value) : `${day(at)} ${clock(at)}`;
}

export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit++; }
  return `${n.toFixed(n < 10 && unit ? 1 : 0)} ${units[unit]}`;
}

export function duration(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

export const colour = (group, name, at) =>
  name === undefined ? 'var(--others)' : group === 'priority' ? `var(--${name.toLowerCase()})` : `var(--c${at % 12})`;

export const priority = name => h('span', {class: 'priority', style: {color: colour('priority', name)}}, name);

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS the browser has no clipboard for pages.
    const area = h('textarea', {'aria-hidden': 'true'});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  say('copied');
}
