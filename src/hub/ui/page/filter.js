// Which alerts are shown: kept in the address, so that a view can be sent to somebody, and the form to change it.

import {h, priorities, time} from './dom.js';
import {get} from './server.js';

const lists = ['priority', 'rule', 'source', 'hostname', 'tags', 'notrule', 'field'];
const texts = ['filter', 'since', 'from', 'to', 'acknowledged'];
const spans = [['5min', '5 minutes'], ['15min', '15 minutes'], ['1h', 'hour'], ['6h', '6 hours'], ['24h', '24 hours'], ['48h', '2 days'],
  ['1w', 'week'], ['1M', 'month'], ['3M', '3 months'], ['1y', 'year'], ['all', 'all time']];

export class Filter {
  constructor(query = '') {
    const given = new URLSearchParams(query);
    for (const name of lists) this[name] = given.getAll(name);
    for (const name of texts) this[name] = given.get(name) ?? '';
    if (!this.since && !this.from) this.since = '24h';
  }

  // As it stands in the address.
  query() {
    const query = new URLSearchParams();
    for (const name of lists) for (const value of this[name]) query.append(name, value);
    for (const name of texts) if (this[name] && !(name === 'since' && this[name] === '24h')) query.set(name, this[name]);
    return query.toString();
  }

  // As the hub understands it.
  parameters(more = {}) {
    const query = new URLSearchParams();
    for (const name of lists) for (const value of this[name]) query.append(name, name === 'field' ? value : value.replaceAll(',', '\\,'));
    for (const name of texts) if (this[name] && !(name === 'since' && this[name] === 'all')) query.set(name, this[name]);
    for (const [name, value] of Object.entries(more)) query.set(name, value);
    return query;
  }

  with(name, value) {
    const next = new Filter(this.query());
    if (!lists.includes(name)) next[name] = value;
    else if (!next[name].includes(value)) next[name].push(value);
    return next;
  }

  between(from, to) {
    const next = new Filter(this.query());
    Object.assign(next, {since: '', from: String(from), to: String(to)});
    return next;
  }
}

// The form above a view. `go` is called with the filter that is wanted next.
export function bar(filter, go) {
  const change = (name, value) => go(filter.with(name, value));
  const option = (value, text, chosen) => h('option', {value, selected: chosen}, text);
  const choose = (label, name) => {
    const select = h('select', {onchange: event => event.target.value && change(name, event.target.value)}, option('', 'any'));
    if (name === 'priority') select.append(...priorities.map(name => option(name, name)));
    else {
      // Filled when somebody wants to choose.
      const load = async () => {
        select.removeEventListener('focus', load);
        const found = await get(`events/count/${name}`, new Filter(filter.since && `since=${filter.since}`).parameters());
        const names = Object.entries(found.results).sort((a, b) => b[1] - a[1]).slice(0, 500);
        select.append(...names.filter(([name]) => name).map(([name, count]) => option(name, `${name} (${count})`)));
        if (Object.keys(found.results).length > 500) select.append(option('', 'more: search for them'));
      };
      select.addEventListener('focus', load);
    }
    return h('label', {}, label, select);
  };
  const search = h('input', {type: 'search', name: 'filter', value: filter.filter, placeholder: 'words, or field=value'});
  const submit = event => {
    event.preventDefault();
    const field = /^\s*([a-z][\w.]*(?:\[[^\]]+\])?)=(.+)$/.exec(search.value);
    go(field ? filter.with('filter', '').with('field', `${field[1]}=${field[2].trim()}`) : filter.with('filter', search.value.trim()));
  };
  const since = h('select', {name: 'since', onchange: event => {
    const next = new Filter(filter.query());
    Object.assign(next, {since: event.target.value, from: '', to: ''});
    go(next);
  }}, filter.from && option('', 'chosen time', true), spans.map(([value, text]) => option(value, text, filter.since === value)));
  const acknowledged = h('select', {onchange: event => change('acknowledged', event.target.value)},
    [['', 'any'], ['false', 'no'], ['true', 'yes']].map(([value, text]) => option(value, text, filter.acknowledged === value)));
  const chips = [];
  for (const name of lists) {
    filter[name].forEach((value, at) => chips.push([name, `${name === 'notrule' ? 'not ' : ''}${value}`, next => next[name].splice(at, 1)]));
  }
  if (filter.filter) chips.push(['search', filter.filter, next => { next.filter = ''; }]);
  if (filter.from) {
    const until = filter.to ? time(Number(filter.to)) : 'now';
    chips.push(['time', `${time(Number(filter.from))} – ${until}`, next => Object.assign(next, {since: '24h', from: '', to: ''})]);
  }
  return h('form', {class: 'card', role: 'search', 'aria-label': 'Which alerts', onsubmit: submit},
    h('div', {class: 'row'},
      h('label', {class: 'wide'}, 'Search', search), h('label', {}, 'Last', since), choose('Priority', 'priority'), choose('Rule', 'rule'),
      choose('Source', 'source'), choose('Host', 'hostname'), choose('Tag', 'tags'), h('label', {}, 'Acknowledged', acknowledged),
      h('button', {type: 'submit', class: 'main'}, 'Search')),
    chips.length > 0 && h('ul', {class: 'chips', 'aria-label': 'Filters'}, chips.map(([name, text, undo]) =>
      h('li', {}, h('button', {type: 'button', 'data-chip': name, onclick: () => {
        const next = new Filter(filter.query());
        undo(next);
        go(next);
      }}, `${name}: ${text} ✕`, h('span', {class: 'hidden'}, ' remove this filter'))))));
}
