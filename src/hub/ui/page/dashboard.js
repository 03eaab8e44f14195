// The dashboard: counts and timelines of one answer of the hub, asked again now and then.

import {h, number, priorities, put, show, colour} from './dom.js';
import {bar} from './filter.js';
import {bars, timeline} from './charts.js';
import {get} from './server.js';

const titles = {priority: 'Priorities', rule: 'Rules', source: 'Sources', hostname: 'Hosts', tags: 'Tags'};
const every = 10_000;

export async function dashboard({filter, go, alive, replace}) {
  const body = h('div', {'aria-busy': 'true'});
  show(h('h1', {}, 'Dashboard'), bar(filter, go), body);
  const draw = async () => {
    const found = await get('events/overview', filter.parameters());
    // Nobody loses the place where the keyboard is.
    if (!alive() || body.querySelector('.slot:focus, .bars button:focus, .numbers button:focus')) return;
    const counts = new Map(found.by.priority.top);
    const pick = group => name => go(filter.with(group, name));
    put(body,
      h('ul', {class: 'numbers', 'aria-label': 'Alerts'},
        h('li', {}, h('button', {type: 'button', id: 'all', onclick: () => go(filter, 'alerts')}, h('b', {}, number(found.all)), 'alerts')),
        priorities.filter(name => counts.has(name)).map(name => h('li', {}, h('button', {type: 'button', style: {'border-left-color':
          colour('priority', name)}, onclick: () => pick('priority')(name)}, h('b', {}, number(counts.get(name))), name)))),
      timeline('By priority', 'priority', found.timeline, (from, to) => go(filter.between(from, to))),
      h('div', {class: 'grid'}, Object.entries(titles).map(([group, title]) =>
        h('section', {class: 'card'}, h('h2', {}, `${title} `, h('span', {class: 'soft'}, number(found.by[group].distincts))),
          bars(group, found.by[group], pick(group))))),
      timeline('By rule', 'rule', found.timeline, (from, to) => go(filter.between(from, to))),
      timeline('By source', 'source', found.timeline, (from, to) => go(filter.between(from, to))));
    body.removeAttribute('aria-busy');
  };
  await draw();
  const next = async () => {
    if (!alive()) return;
    if (!document.hidden) await draw().catch(() => {});
    replace(setTimeout(next, every));
  };
  replace(setTimeout(next, every));
}
