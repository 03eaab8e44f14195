// One alert: its text, its fields, the processes it came from, what was around it, what became of it.

import {copy, duration, h, plain, priority, say, show, time} from './dom.js';
import {Filter} from './filter.js';
import {table} from './alerts.js';
import {get, post, remove} from './server.js';

const good = {delivered: 'good', 'tried again': 'wait', waiting: 'wait', 'dead letter': 'bad'};

export async function alert({id, go, may, alive}) {
  const [{event, outputs}, near] = await Promise.all([get(`events/${id}`), get(`events/${id}/neighbours`)]);
  if (!alive()) return;
  const again = () => alert({id, go, may, alive});
  const fields = Object.entries(event.output_fields).sort(([a], [b]) => a.localeCompare(b));
  show(h('h1', {}, priority(event.priority), ` ${event.rule}`),
    h('section', {class: 'card'}, h('pre', {id: 'output'}, event.output), facts(event), (event.tags ?? []).map(tag), acknowledgement(event, may, again)),
    h('div', {class: 'grid'},
      tree(event),
      delivery(event, outputs)),
    h('section', {class: 'card'}, h('h2', {}, 'Fields'), h('dl', {class: 'fields'}, fields.map(([name, value]) => [h('dt', {}, name),
      h('dd', {}, h('button', {type: 'button', title: 'Alerts with this value', onclick: () => go(new Filter().with('field', `${name}=${plain(value)}`), 'alerts')}, plain(value)))]))),
    around('Same process', near.process, near.minutes, event), around('Same host', near.host, near.minutes, event),
    h('details', {class: 'card'}, h('summary', {}, 'JSON'), h('p', {}, h('button', {type: 'button', id: 'copy', onclick: () => copy(JSON.stringify(event, null, 2))}, 'Copy')),
      h('pre', {}, JSON.stringify(event, null, 2))));
}

// The outputs are those of the hub that received the alert.
function delivery(event, outputs) {
  const told = outputs === null ? h('p', {class: 'soft', id: 'elsewhere'}, `Received by the hub ${event.hub}, whose page tells this as long as the alert is in its own database. It is not in this hub's.`)
    : outputs.length ? h('dl', {class: 'fields'}, outputs.map(output => [h('dt', {}, output.name),
      h('dd', {}, h('span', {class: `state ${good[output.state] ?? ''}`}, output.state), held(output.held))]))
      : h('p', {class: 'soft'}, 'No output is configured.');
  return h('section', {class: 'card'}, h('h2', {}, 'Delivery'), told);
}

const held = state => state && h('span', {class: 'soft'}, ` after ${state.attempts} attempts: ${state.error}`, state.due && `; next at ${time(state.due)}`);

function facts(event) {
  const rows = [['Time', time(event.time)], ['Host', event.hostname || '(none)'], ['Source', event.source || '(none)'], ['Received', `${time(event.received)}, ${duration(event.received - new Date(event.time))} later`],
    ['Number', `${event.uuid}`]];
  if (event.hub !== undefined) rows.push(['Hub', event.hub]);
  return h('dl', {class: 'fields'}, rows.map(([name, text]) => [h('dt', {}, name), h('dd', {}, text)]));
}

// Tags of MITRE ATT&CK lead to what they mean.
function tag(text) {
  const technique = /^T\d{4}(\.\d{3})?$/.test(text) && `https://attack.mitre.org/techniques/${text.replace('.', '/')}/`;
  const tactic = /^mitre_/.test(text) && `MITRE: ${text.slice(6).replaceAll('_', ' ')}`;
  return technique ? h('a', {class: 'tag', href: technique, rel: 'noreferrer', target: '_blank'}, text) : h('span', {class: 'tag'}, tactic || text);
}

function acknowledgement(event, may, again) {
  const done = event.acknowledged;
  const act = work => async () => {
    try {
      await work();
      await again();
    } catch (error) {
      say(error.message);
      problem.textContent = error.message;
    }
  };
  const problem = h('p', {class: 'error', role: 'alert'});
  const note = h('input', {name: 'note', maxlength: 1000, 'aria-label': 'Note', placeholder: 'a note'});
  const drop = act(async () => {
    if (!confirm('Delete this alert?')) return;
    await remove(`events/${event.uuid}`);
    history.back();
  });
  return h('div', {}, done && h('p', {id: 'acknowledged'}, `Acknowledged by ${done.by} at ${time(done.at)}${done.note && `: ${done.note}`}`),
    may && h('form', {class: 'row', onsubmit: submitted => {
      submitted.preventDefault();
      act(() => post(`events/${event.uuid}/acknowledgement`, {note: note.value}))();
    }}, !done && [note, h('button', {type: 'submit', class: 'main', id: 'acknowledge'}, 'Acknowledge')],
      done && h('button', {type: 'button', onclick: act(() => remove(`events/${event.uuid}/acknowledgement`))}, 'Not acknowledged any more'),
      h('button', {type: 'button', class: 'danger', onclick: drop}, 'Delete')), problem);
}

// The process and its ancestors, as far as the alert tells of them.
export function lineage(fields) {
  const value = name => fields[name] === undefined || fields[name] === null ? '' : plain(fields[name]);
  const process = (name, pid, command, path) => ({name: value(name), pid: value(pid), command: value(command) || value(path)});
  const chain = [process('proc.name', 'proc.pid', 'proc.cmdline', 'proc.exepath')];
  chain[0].user = value('user.name');
  const parent = process('proc.pname', 'proc.ppid', 'proc.pcmdline', 'proc.pexepath');
  for (let i = 1; i <= 64; i++) {
    const from = process(`proc.aname[${i}]`, `proc.apid[${i}]`, `proc.acmdline[${i}]`, `proc.aexepath[${i}]`);
    if (i === 1) for (const key of Object.keys(parent)) from[key] ||= parent[key];
    chain.push(from);
  }
  const known = process => process.name || process.pid || process.command;
  while (chain.length && !known(chain.at(-1))) chain.pop();
  return chain.map(process => known(process) ? process : {name: '(not told)', pid: '', command: ''}).reverse();
}

function tree(event) {
  const chain = lineage(event.output_fields);
  if (!chain.length) return h('section', {class: 'card'}, h('h2', {}, 'Processes'), h('p', {class: 'soft'}, 'The alert has no fields about processes.'));
  const draw = at => h('ul', {class: at ? undefined : 'tree', id: at ? undefined : 'tree'}, h('li', {'aria-current': at === chain.length - 1 ? 'true' : undefined},
    h('span', {class: at === chain.length - 1 ? 'self' : undefined}, chain[at].name || '(no name)'), chain[at].pid && h('span', {class: 'soft'}, ` ${chain[at].pid}`),
    chain[at].user && h('span', {class: 'soft'}, ` ${chain[at].user}`), chain[at].command && [h('br'), h('code', {}, chain[at].command)], at + 1 < chain.length && draw(at + 1)));
  return h('section', {class: 'card'}, h('h2', {}, 'Processes'), draw(0));
}

function around(title, events, minutes, event) {
  if (events === null) return null;
  const where = events.length ? table(events, ['time', 'priority', 'rule', 'output'], `${title}, the newest first`)
    : h('p', {class: 'soft'}, `nothing within ${minutes} minutes of ${time(event.time)}`);
  return h('section', {class: 'card'}, h('h2', {}, title, h('span', {class: 'soft'}, ` within ${minutes} minutes, 20 before and after at most`)), where);
}
