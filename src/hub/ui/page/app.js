// The frame: who is logged in, which page the address means.

import {h, say, show} from './dom.js';
import {Filter} from './filter.js';
import {get, post} from './server.js';
import {dashboard} from './dashboard.js';
import {alerts} from './alerts.js';
import {alert} from './alert.js';
import {outputs} from './outputs.js';
import {rules} from './rules.js';

const pages = {dashboard: ['Dashboard', dashboard], alerts: ['Alerts', alerts], rules: ['Rules', rules], outputs: ['Outputs', outputs]};
const element = id => document.getElementById(id);
let user = null;
// Counts the pages shown, so that a late answer does not draw over the next.
let shown = 0;
let timer = 0;
let close = null;

function address() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [page, ...rest] = path.split('/');
  return {page: page || 'dashboard', id: rest.join('/'), query: new URLSearchParams(query), filter: new Filter(query)};
}

async function route(moved = false) {
  const mine = ++shown;
  clearTimeout(timer);
  close?.();
  close = null;
  const {page, id, query, filter} = address();
  const [title, draw] = page === 'alert' ? ['Alert', alert] : pages[page] ?? ['Nothing here', null];
  document.title = `${title} – falco-hub`;
  element('pages').replaceChildren(...Object.entries(pages).map(([name, [text]]) => {
    // A filter goes along from page to page.
    const kept = page in pages && name !== 'outputs' && page !== 'outputs' ? filter.query() : '';
    return h('a', {href: `#/${name}${kept && `?${kept}`}`, 'aria-current': name === page ? 'page' : undefined}, text);
  }));
  const go = (next, to = page, more = {}) => {
    const parameters = new URLSearchParams(next.query());
    for (const [name, value] of Object.entries(more)) if (value > 1) parameters.set(name, value);
    const target = `#/${to}${parameters.size ? `?${parameters}` : ''}`;
    if (location.hash === target) route(true);
    else location.hash = target;
  };
  const alive = () => mine === shown;
  if (!draw) return show(h('h1', {}, 'There is no such page'), h('p', {}, h('a', {href: '#/dashboard'}, 'To the dashboard')));
  try {
    const context = {filter, query, id, go, alive, may: user.role === 'operator', replace: next => { timer = next; }, closing: work => { close = work; }};
    await draw(context);
    if (!alive()) return;
    say(title);
    // What had the keyboard is drawn anew: it goes on at the content, not at the top of the document.
    if (moved && document.activeElement === document.body) element('main').focus({preventScroll: true});
  } catch (error) {
    if (alive() && error.status !== 401) show(h('h1', {}, title), h('p', {class: 'error', role: 'alert'}, error.message));
    else if (error.status !== 401) say(error.message);
  }
}

function login(message = '') {
  shown++;
  clearTimeout(timer);
  close?.();
  close = null;
  user = null;
  element('top').hidden = true;
  document.title = 'Log in – falco-hub';
  const name = h('input', {name: 'name', autocomplete: 'username', required: true});
  const password = h('input', {name: 'password', type: 'password', autocomplete: 'current-password', required: true});
  const problem = h('p', {class: 'error', role: 'alert'}, message);
  const button = h('button', {type: 'submit', class: 'main'}, 'Log in');
  show(h('form', {class: 'login card', onsubmit: async event => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = '';
    try {
      await post('login', {name: name.value, password: password.value});
      await start();
    } catch (error) {
      problem.textContent = error.status === 401 ? 'The name or the password is wrong.' : error.message;
      button.disabled = false;
      password.select();
    }
  }}, h('h1', {}, 'falco-hub'), h('label', {}, 'Name', name), h('label', {}, 'Password', password), button, problem));
  name.focus();
}

function changePassword() {
  const old = h('input', {type: 'password', autocomplete: 'current-password', required: true});
  const next = h('input', {type: 'password', autocomplete: 'new-password', required: true, minlength: 10});
  const problem = h('p', {class: 'error', role: 'alert'});
  shown++;
  show(h('form', {class: 'login card', onsubmit: async event => {
    event.preventDefault();
    try {
      await post('password', {old: old.value, new: next.value});
      login('The password is changed: please log in with it.');
    } catch (error) {
      problem.textContent = error.status === 401 ? 'The old password is wrong.' : error.message;
    }
  }}, h('h1', {}, 'Another password'), h('label', {}, 'Old password', old), h('label', {}, 'New password, 10 characters at least', next),
    h('button', {type: 'submit', class: 'main'}, 'Change'), problem));
}

async function start() {
  user = await get('session');
  element('top').hidden = false;
  element('name').replaceChildren(user.name === 'anonymous' ? 'not logged in' : h('button', {type: 'button', title: 'Another password', onclick: changePassword}, `${user.name} (${user.role})`));
  element('logout').hidden = user.name === 'anonymous';
  await route();
}

function theme(next) {
  if (next) document.documentElement.dataset.theme = next;
}

theme(localStorage.getItem('theme'));
element('theme').addEventListener('click', () => {
  const now = document.documentElement.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  theme(now === 'dark' ? 'light' : 'dark');
  localStorage.setItem('theme', document.documentElement.dataset.theme);
});
element('logout').addEventListener('click', async () => {
  await post('logout').catch(() => {});
  login();
});
document.querySelector('.skip').addEventListener('click', event => {
  event.preventDefault();
  element('main').focus();
});
addEventListener('hashchange', () => user && route(true));
addEventListener('logged-out', () => user && login('The session has ended.'));
start().catch(error => login(error.status === 401 ? '' : error.message));
