// The outputs: how each is, what waits for it, and a test.

import {bytes, duration, h, number, put, say, show, time} from './dom.js';
import {get, post} from './server.js';

export async function outputs({may, alive, replace}) {
  const results = new Map();
  const body = h('div', {});
  show(h('h1', {}, 'Outputs'), body);
  const act = (name, work) => async () => {
    results.set(name, 'asking…');
    await draw(true);
    try {
      results.set(name, await work());
    } catch (error) {
      results.set(name, error.message);
    }
    say(`${name}: ${results.get(name)}`);
    if (alive()) await draw(true);
  };
  const test = name => act(name, async () => {
    const answer = await post(`outputs/${encodeURIComponent(name)}/test`);
    return answer.taken ? 'the test alert was taken' : answer.error;
  });
  const retry = name => act(name, async () => `${(await post(`outputs/${encodeURIComponent(name)}/retry`)).retried} alerts are offered again`);
  const card = output => {
    const state = output.up === null ? ['', 'not tried yet'] : output.up ? ['good', 'works'] : ['bad', 'down'];
    const facts = [['Waiting', `${number(output.queue)}${output.queue ? `, the oldest for ${duration(output.oldest)}` : ''}`], ['Put aside', number(output.held)],
      ['Dead letters', number(output.dead_letters)], ['Last success', output.last_success ? time(output.last_success) : 'none since the start'], ['Last error', output.last_error ?? 'none']];
    return h('section', {class: 'card', 'data-output': output.name}, h('h2', {}, output.name, ' ', h('span', {class: `state ${state[0]}`}, state[1])),
      h('dl', {class: 'fields'}, facts.map(([name, text]) => [h('dt', {}, name), h('dd', {}, text)])),
      may && h('p', {class: 'row'}, h('button', {type: 'button', 'data-test': output.name, onclick: test(output.name)}, 'Send a test alert'),
        output.dead_letters > 0 && h('button', {type: 'button', onclick: retry(output.name)}, 'Offer dead letters again')),
      h('p', {class: 'result', role: 'status'}, results.get(output.name) ?? ''));
  };
  const draw = async forced => {
    const {outputs, spool} = await get('outputs/state');
    if (!alive() || (!forced && body.querySelector('button:focus'))) return;
    put(body, h('p', {class: spool.full ? 'error' : 'soft'}, `The database has ${bytes(spool.used)} of ${bytes(spool.limit)}.`,
      spool.full && ' It is full: new alerts are refused until outputs take what waits.'),
      outputs.length ? h('div', {class: 'grid'}, outputs.map(card)) : h('p', {}, 'No output is configured. Alerts are kept and shown here.'));
  };
  await draw(true);
  const next = async () => {
    if (!alive()) return;
    if (!document.hidden) await draw(false).catch(() => {});
    replace(setTimeout(next, 3000));
  };
  replace(setTimeout(next, 3000));
}
