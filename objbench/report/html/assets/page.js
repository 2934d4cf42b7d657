// What all parts share: the data of the page, elements by name, the theme, footnotes on hover and focus.

const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** The name of a metric for people. */
const titleOf = (metric) => data.titles[metric] ?? metric;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function chosen(name) {
  return document.querySelector(`input[name="${name}"]:checked`).value;
}

const THEMES = ['auto', 'light', 'dark'];

function remembered(key, value) {
  try { // a browser may forbid storage to files
    if (value === undefined) return localStorage.getItem(key);
    localStorage.setItem(key, value);
  } catch { /* then the theme lasts as long as the page */ }
  return null;
}

function setTheme(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId('theme').textContent = `Theme: ${theme}`;
  document.dispatchEvent(new Event('theme'));
}

{
  const kept = remembered('objbench-theme');
  let theme = THEMES.includes(kept) ? kept : 'auto';
  setTheme(theme);
  byId('theme').addEventListener('click', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remembered('objbench-theme', theme);
    setTheme(theme);
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => setTheme(theme));
}

{
  const tip = byId('tip');
  const hide = () => { tip.hidden = true; };
  const show = (event) => {
    const mark = event.target.closest?.('.marks a');
    if (!mark) return hide();
    tip.textContent = byId(mark.hash.slice(1)).querySelector('.note').textContent;
    tip.hidden = false;
    const place = mark.getBoundingClientRect();
    const left = Math.min(place.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const below = place.bottom + 6;
    const above = place.top - tip.offsetHeight - 6;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below + tip.offsetHeight > innerHeight ? above : below}px`;
  };
  document.addEventListener('mouseover', show);
  document.addEventListener('focusin', show);
  document.addEventListener('scroll', hide, true);
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
}

function unfold(hash) { // a link to a run opens it
  const target = byId(hash.slice(1));
  if (target?.matches('details')) target.open = true;
}
unfold(location.hash);
addEventListener('hashchange', () => unfold(location.hash));

byId('unfold')?.addEventListener('click', (event) => {
  const runs = all('#runs details.run');
  const open = runs.some((run) => !run.open);
  for (const run of runs) run.open = open;
  event.target.textContent = open ? 'Close all' : 'Open all';
});
