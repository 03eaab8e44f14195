// Bars and timelines. Everything that can be clicked can be reached and pressed with the keyboard, and has its number as text.

import {clock, colour, day, h, number, say, svg} from './dom.js';

// Counts as bars; `pick` is called with a name.
export function bars(group, counts, pick) {
  const most = Math.max(1, ...counts.top.map(([, count]) => count));
  const item = ([name, count], at) => h('li', {}, h('button', {type: 'button', disabled: !name, 'data-group': group, 'data-name': name,
    onclick: () => pick(name)},
    h('span', {class: 'bar', style: {width: `${100 * count / most}%`, background: colour(group, name, group === 'priority' ? at : 0)}}),
    h('span', {class: 'what'}, name || '(none)'), h('span', {class: 'number'}, number(count))));
  const rest = counts.distincts - counts.top.length;
  return h('div', {class: 'scroll'}, counts.top.length ? h('ul', {class: 'bars'}, counts.top.map(item)) : h('p', {class: 'soft'}, 'nothing'),
    rest > 0 && h('p', {class: 'soft'}, `and ${number(rest)} more with ${number(counts.others)} alerts`));
}

// Intervals as stacked bars; `pick` is called with the start and the end of one.
export function timeline(title, group, {from, to, width, by}, pick) {
  const lines = [...by[group].lines, ...(by[group].others.length ? [{points: by[group].others}] : [])];
  const first = Math.floor(from / width) * width;
  const count = Math.max(1, Math.ceil((to - first) / width));
  const slots = Array.from({length: count}, () => []);
  lines.forEach((line, at) => line.points.forEach(([start, number]) => slots[Math.round((start - first) / width)]?.push([line.name, number, at])));
  const sums = slots.map(parts => parts.reduce((sum, [, number]) => sum + number, 0));
  const most = Math.max(1, ...sums);
  const [wide, high] = [1000, 120];
  const step = wide / count;
  const label = at => width >= 86400000 ? day(at) : `${to - from > 86400000 ? `${day(at).slice(5)} ` : ''}${clock(at).slice(0, width < 60000 ? 8 : 5)}`;
  const elements = slots.map((parts, slot) => {
    const start = first + slot * width;
    const text = `${label(new Date(start))}: ${number(sums[slot])} alerts${parts.length ? ` (${parts.map(([name, n]) => `${name ?? 'others'} ${n}`).join(', ')})` : ''}`;
    let top = high;
    const rectangles = parts.map(([name, n, at]) => {
      const height = Math.max(n / most * high, .5);
      top -= height;
      return svg('rect', {x: slot * step + step * .08, y: top, width: step * .84, height, fill: colour(group, name, at)});
    });
    return svg('g', {class: 'slot', role: 'button', tabindex: slot ? -1 : 0, 'aria-label': text, onclick: () => pick(start, start + width)},
      svg('rect', {class: 'back', x: slot * step, y: 0, width: step, height: high}), rectangles, svg('title', {}, text));
  });
  const move = event => {
    const at = elements.indexOf(event.target);
    if (at < 0) return;
    const next = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: count - 1}[event.key];
    if (event.key === 'Enter' || event.key === ' ') event.target.dispatchEvent(new MouseEvent('click'));
    else if (elements[next]) {
      event.target.setAttribute('tabindex', -1);
      elements[next].setAttribute('tabindex', 0);
      elements[next].focus();
      say(elements[next].getAttribute('aria-label'));
    } else return;
    event.preventDefault();
  };
  const drawing = svg('svg', {class: 'timeline', viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: 'none', role: 'group', 'aria-label':
    `${title}: arrows move, Enter chooses an interval`, onkeydown: move}, elements);
  const names = by[group].lines.map((line, at) => h('li', {}, h('i', {style: {background: colour(group, line.name, at)}}), line.name || '(none)'));
  const middle = label(new Date(first + Math.floor(count / 2) * width));
  return h('section', {class: 'card'}, h('h2', {}, title), h('p', {class: 'soft'}, `most in one interval: ${number(Math.max(...sums))}`), drawing,
    h('div', {class: 'axis soft'}, h('span', {}, label(new Date(first))), h('span', {}, middle), h('span', {}, label(new Date(to)))),
    h('ul', {class: 'legend'}, names, by[group].others.length > 0 && h('li', {}, h('i', {style: {background: 'var(--others)'}}), 'others')));
}
