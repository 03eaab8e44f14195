// The rules: how often each fired, and for one of them when and with which values of which fields.

import {h, number, put, show} from './dom.js';
import {bar} from './filter.js';
import {bars, timeline} from './charts.js';
import {get} from './server.js';

export async function rules({filter, go, alive}) {
  const body = h('div', {'aria-busy': 'true'});
  show(h('h1', {}, 'Rules'), bar(filter, go), body);
  const [found, noise] = await Promise.all([get('events/overview', filter.parameters({groups: 'rule,priority'})), get('events/fields', filter.parameters())]);
  if (!alive()) return;
  const what = filter.rule.length ? filter.rule.join(', ') : 'all rules';
  const share = count => `${Math.round(100 * count / Math.max(1, noise.looked_at))}%`;
  put(body, timeline(`Hits of ${what}`, 'rule', found.timeline, (from, to) => go(filter.between(from, to))),
    h('div', {class: 'grid'},
      h('section', {class: 'card'}, h('h2', {}, 'Most frequent'), bars('rule', found.by.rule, name => go(filter.with('rule', name)))),
      h('section', {class: 'card'}, h('h2', {}, 'Without'), h('p', {class: 'soft'}, 'Leave a rule out to see the others.'),
        h('ul', {class: 'chips'}, found.by.rule.top.slice(0, 10).map(([name]) => h('li', {}, h('button', {type: 'button', onclick: () => go(filter.with('notrule', name))}, `not ${name}`)))))),
    h('section', {class: 'card'}, h('h2', {}, `Noisiest values of ${what}`), h('p', {class: 'soft'}, `of the newest ${number(noise.looked_at)} alerts`,
      noise.more_fields > 0 && `; ${number(noise.more_fields)} more fields repeat less`),
      h('table', {class: 'cards', id: 'noise'}, h('thead', {}, h('tr', {}, ['Field', 'Values', 'Most frequent'].map(text => h('th', {scope: 'col'}, text)))),
        h('tbody', {}, noise.fields.map(field => h('tr', {}, h('td', {class: 'lead'}, field.name), h('td', {'data-label': 'Values'}, number(field.distincts)),
          h('td', {'data-label': 'Most frequent'}, h('ul', {class: 'chips'}, field.top.map(([value, count]) => h('li', {}, h('button', {type: 'button', onclick: () =>
            go(filter.with('field', `${field.name}=${value}`), 'alerts')}, `${value || '(empty)'} ${share(count)}`)))))))))));
  body.removeAttribute('aria-busy');
}
