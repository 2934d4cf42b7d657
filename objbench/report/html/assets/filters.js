// Filters: what is shown of datasets, methods, seeds and origins, in the tables, charts, images and runs alike.

const facets = all('.facet').map((details) => ({
  name: details.dataset.facet,
  details,
  boxes: all('input', details),
}));

function excluded(facet) {
  return new Set(facet.boxes.filter((box) => !box.checked).map((box) => box.value));
}

let hiddenValues = {};

/** Whether something with these values (facet -> numbers) is to be seen: some value of each facet is. */
function passes(values) {
  return Object.entries(hiddenValues).every(([facet, hidden]) => {
    const own = values[facet];
    return !own || own.length === 0 || own.some((value) => !hidden.has(value));
  });
}

function valuesOf(node) {
  const values = {};
  for (const { name } of facets) {
    if (node.dataset[name]) values[name] = node.dataset[name].split(' ');
  }
  return values;
}

function stateOf(facet) {
  const on = facet.boxes.filter((box) => box.checked);
  if (on.length === facet.boxes.length) return 'all';
  if (on.length === 1) return on[0].nextElementSibling.textContent;
  return on.length ? `${on.length} of ${facet.boxes.length}` : 'none';
}

function filterTables() {
  for (const table of all('article.table')) {
    for (const cell of all('th[data-dataset], td[data-dataset]', table)) cell.hidden = !passes(valuesOf(cell));
    for (const row of all('tr.seed', table)) row.hidden = !passes(valuesOf(row));
    const groups = all('tbody.group', table);
    for (const group of groups) group.hidden = !passes(valuesOf(group));
    for (const head of all('tbody.section', table)) {
      const members = groups.filter((group) => group.dataset.section === head.dataset.section);
      head.hidden = members.every((group) => group.hidden);
    }
    spanGroups(table);
    table.hidden = !passes(valuesOf(table)) || groups.every((group) => group.hidden);
  }
}

/** Headings above headings span the columns that are seen. */
function spanGroups(table) {
  const below = all('thead tr:last-child th[data-dataset]', table);
  let start = 0;
  for (const heading of all('tr.groups th', table)) {
    heading.dataset.span ??= heading.colSpan;
    const columns = below.slice(start, start + Number(heading.dataset.span));
    start += columns.length;
    const seen = columns.filter((column) => !column.hidden).length;
    heading.hidden = seen === 0;
    heading.colSpan = Math.max(seen, 1);
  }
}

function filterAll() {
  hiddenValues = Object.fromEntries(facets.map((facet) => [facet.name, excluded(facet)]));
  filterTables();
  const runs = all('details.run');
  for (const run of runs) run.hidden = !passes(valuesOf(run));
  let narrowed = false;
  for (const facet of facets) {
    const state = stateOf(facet);
    facet.details.querySelector('.facet-state').textContent = state;
    facet.details.classList.toggle('narrowed', state !== 'all');
    narrowed ||= state !== 'all';
  }
  byId('reset').hidden = !narrowed;
  const seen = runs.filter((run) => !run.hidden).length;
  byId('shown').textContent = narrowed ? `${seen} of ${runs.length} runs` : '';
  document.dispatchEvent(new Event('filtered'));
}

for (const facet of facets) {
  const set = (checked) => {
    for (const box of facet.boxes) box.checked = checked;
    filterAll();
  };
  facet.details.querySelector('[data-all]').addEventListener('click', () => set(true));
  facet.details.querySelector('[data-none]').addEventListener('click', () => set(false));
  for (const box of facet.boxes) box.addEventListener('change', filterAll);
  facet.details.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      facet.details.open = false;
      facet.details.querySelector('summary').focus();
    }
  });
}
document.addEventListener('click', (event) => { // a menu closes when one clicks elsewhere
  for (const facet of facets) if (!facet.details.contains(event.target)) facet.details.open = false;
});
byId('reset').addEventListener('click', () => {
  for (const facet of facets) for (const box of facet.boxes) box.checked = true;
  filterAll();
  facets[0].details.querySelector('summary').focus();
});
byId('seeds')?.addEventListener('change', (event) => {
  byId('tables').classList.toggle('seeds', event.target.checked);
});
