// The list of alerts: pages of it, or live.

import {h, number, plain, priority, say, show, time} from './dom.js';
import {bar} from './filter.js';
import {get, read} from './server.js';

const known = {time: 'Time', priority: 'Priority', rule: 'Rule', hostname: 'Host', source: 'Source', output: 'Output', tags: 'Tags', note: 'Acknowledged'};
const usual = ['time', 'priority', 'rule', 'hostname', 'output'];

function columns() {
  try {
    const stored = JSON.parse(localStorage.getItem('columns'));
    if (Array.isArray(stored) && stored.length && stored.every(name => typeof name === 'string')) return stored;
  } catch { /* what is not understood is as if it were not there */ }
  return usual;
}

function cell(name, event) {
  switch (name) {
    case 'time': return h('td', {class: 'time lead'}, h('a', {href: `#/alert/${event.uuid}`}, time(event.time)));
    case 'priority': return h('td', {class: 'lead'}, priority(event.priority));
    case 'rule': return h('td', {'data-label': 'Rule'}, event.rule);
    case 'tags': return h('td', {'data-label': 'Tags'}, (event.tags ?? []).map(tag => h('span', {class: 'tag'}, tag)));
    case 'note': return h('td', {'data-label': 'Acknowledged'}, event.acknowledged && `${event.acknowledged.by}: ${event.acknowledged.note}`);
    case 'output': return h('td', {'data-label': 'Output'}, event.output);
    case 'hostname':
    case 'source': return h('td', {'data-label': known[name]}, event[name] ?? '');
    default: return h('td', {'data-label': name}, plain(event.output_fields[name] ?? ''));
  }
}

export const table = (events, names, caption) => h('table', {class: 'cards'}, h('caption', {class: 'hidden'}, caption),
  h('thead', {}, h('tr', {}, names.map(name => h('th', {scope: 'col'}, known[name] ?? name)))),
  h('tbody', {}, events.map(event => row(event, names))));

function row(event, names, fresh) {
  const kind = [fresh && 'new', event.acknowledged && 'acknowledged'].filter(Boolean).join(' ');
  return h('tr', {class: kind || undefined, 'data-uuid': event.uuid}, names.map(name => cell(name, event)));
}

export async function alerts({filter, go, alive, closing, query}) {
  const names = columns();
  const [page, limit] = [Number(query.get('page') ?? 1), 100];
  const body = h('div', {'aria-busy': 'true'});
  const summary = h('span', {class: 'soft', id: 'summary'});
  let stream = null;
  const live = h('button', {type: 'button', id: 'live', 'aria-pressed': 'false', disabled: page > 1, onclick: () => stream ? stop() : follow()}, 'Live');
  const turn = to => go(filter, 'alerts', {page: to});
  const exported = format => h('a', {class: 'button', id: `export-${format}`, download: '', href: `api/v1/events/export?${filter.parameters({format})}`},
    `Export ${format === 'csv' ? 'CSV' : 'JSON lines'}`);
  const pages = h('nav', {'aria-label': 'Pages of the list', class: 'row'});
  show(h('h1', {}, 'Alerts'), bar(filter, go), choice(names, () => go(filter)),
    h('div', {class: 'card'}, h('div', {class: 'row'}, live, exported('ndjson'), exported('csv'), summary), body, pages));

  const found = await get('events/search', filter.parameters({limit, page}));
  if (!alive()) return;
  let all = found.statistics.all;
  const list = table(found.results, names, 'Alerts, the newest first');
  const count = () => { summary.textContent = all ? `${number((page - 1) * limit + 1)} to ${number((page - 1) * limit + list.tBodies[0].rows.length)} of ${number(all)}` : 'no alerts'; };
  count();
  body.replaceChildren(list);
  body.removeAttribute('aria-busy');
  pages.append(h('button', {type: 'button', disabled: page <= 1, onclick: () => turn(page - 1)}, 'Newer'), `page ${page} of ${Math.max(1, Math.ceil(all / limit))}`,
    h('button', {type: 'button', disabled: page * limit >= all, onclick: () => turn(page + 1)}, 'Older'));

  function follow() {
    // What a stream sends is from now on: no lower bound of time is needed.
    const parameters = filter.parameters();
    parameters.delete('since');
    stream = new EventSource(`api/v1/events/stream?${parameters}`);
    live.setAttribute('aria-pressed', 'true');
    stream.addEventListener('start', () => live.setAttribute('data-following', ''));
    stream.addEventListener('alert', message => {
      const event = read(message.data);
      const rows = list.tBodies[0];
      rows.prepend(row(event, names, true));
      while (rows.rows.length > limit) rows.lastElementChild.remove();
      all++;
      count();
      say(`new alert: ${event.priority} ${event.rule}`);
    });
  }
  function stop() {
    stream.close();
    stream = null;
    live.removeAttribute('data-following');
    live.setAttribute('aria-pressed', 'false');
  }
  closing(() => stream?.close());
}

// Which columns there are: known ones, and any field.
function choice(names, changed) {
  const store = next => {
    localStorage.setItem('columns', JSON.stringify(next));
    changed();
  };
  const boxes = Object.entries(known).map(([name, text]) => h('label', {}, h('input', {type: 'checkbox', checked: names.includes(name), onchange: event =>
    store(event.target.checked ? [...Object.keys(known).filter(other => other === name || names.includes(other)), ...names.filter(other => !known[other])]
      : names.filter(other => other !== name))}), ` ${text}`));
  const fields = names.filter(name => !known[name]).map(name =>
    h('label', {}, h('input', {type: 'checkbox', checked: true, onchange: () => store(names.filter(other => other !== name))}), ` ${name}`));
  const field = h('input', {placeholder: 'proc.cmdline', 'aria-label': 'Field'});
  return h('details', {class: 'card'}, h('summary', {}, 'Columns'), h('div', {class: 'columns'}, boxes, fields),
    h('form', {class: 'row', onsubmit: event => {
      event.preventDefault();
      const name = field.value.trim();
      if (name && !names.includes(name)) store([...names, name]);
    }}, field, h('button', {type: 'submit'}, 'Add a field')));
}
