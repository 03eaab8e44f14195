// The outputs: how each is, what waits for it, and a test; and the brokers that alerts are taken from.

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
  const heading = ({name, up}) => {
    const [colour, state] = up === null ? ['', 'not tried yet'] : up ? ['good', 'works'] : ['bad', 'down'];
    return h('h2', {}, name, ' ', h('span', {class: `state ${colour}`}, state));
  };
  const listed = facts => h('dl', {class: 'fields'}, facts.map(([name, text]) => [h('dt', {}, name), h('dd', {}, text)]));
  const last = ({last_success: success, last_error: error}) => [['Last success', success ? time(success) : 'none since the start'], ['Last error', error ?? 'none']];
  const source = input => h('section', {class: 'card', 'data-input': input.name}, heading(input),
    listed([['From', input.kind], ['Taken since the start', number(input.alerts)], ['Repeated', number(input.repeated)], ['Rejected', number(input.rejected)], ...last(input)]));
  const card = output => {
    const facts = [['Waiting', `${number(output.queue)}${output.queue ? `, the oldest for ${duration(output.oldest)}` : ''}`], ['Put aside', number(output.held)],
      ['Dead letters', number(output.dead_letters)], ...last(output)];
    return h('section', {class: 'card', 'data-output': output.name}, heading(output), listed(facts),
      may && h('p', {class: 'row'}, h('button', {type: 'button', 'data-test': output.name, onclick: test(output.name)}, 'Send a test alert'),
        output.dead_letters > 0 && h('button', {type: 'button', onclick: retry(output.name)}, 'Offer dead letters again')),
      h('p', {class: 'result', role: 'status'}, results.get(output.name) ?? ''));
  };
  const draw = async forced => {
    const {inputs, outputs, spool} = await get('outputs/state');
    if (!alive() || (!forced && body.querySelector('button:focus'))) return;
    put(body, h('p', {class: spool.full ? 'error' : 'soft'}, `The database has ${bytes(spool.used)} of ${bytes(spool.limit)}.`,
      spool.full && ' It is full: new alerts are refused until outputs take what waits.'),
      outputs.length ? h('div', {class: 'grid'}, outputs.map(card)) : h('p', {}, 'No output is configured. Alerts are kept and shown here.'),
      inputs.length > 0 && [h('h2', {}, 'Inputs'), h('div', {class: 'grid'}, inputs.map(source))]);
  };
  await draw(true);
  const next = async () => {
    if (!alive()) return;
    if (!document.hidden) await draw(false).catch(() => {});
    replace(setTimeout(next, 3000));
  };
  replace(setTimeout(next, 3000));
}
