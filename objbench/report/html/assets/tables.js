// Sorting: by a column, best first, then the other way round, then as the table came. '-' stands last always.

/** The number that a cell starts with (`93.1 ± 0.2`, `59,680`, `4/5 [..]`), NaN where there is none. */
function leadingNumber(text) {
  if (/^\s*inf\b/.test(text)) return Infinity;
  const found = /^\s*(-?[\d,]*\.?\d+(?:e[+-]?\d+)?)(?:\/(\d+))?/i.exec(text);
  if (!found) return NaN;
  return Number(found[1].replaceAll(',', '')) / (found[2] ? Number(found[2]) : 1);
}

/** What a line is sorted by: the number in a cell of numbers if there is one, its text otherwise. */
function keyOf(group, column) {
  const cell = group.rows[0].cells[column];
  const text = (cell.querySelector('.v, .label') ?? cell).textContent.trim();
  const number = cell.classList.contains('num') ? leadingNumber(text) : NaN;
  return Number.isNaN(number) ? text : number;
}

/** Numbers before texts, `-` behind all, whichever way the rest goes. */
function compare(a, b, sign) {
  const last = (key) => (key === '-' ? 2 : Number(typeof key === 'string'));
  if (last(a) !== last(b)) return last(a) - last(b);
  return sign * (typeof a === 'string' ? a.localeCompare(b, 'en') : a - b);
}

for (const table of all('table.sortable')) {
  const groups = all('tbody.group', table); // in the order of the table
  const headings = all('thead tr:last-child th', table);
  headings.forEach((heading, column) => {
    const button = heading.querySelector('button');
    button.addEventListener('click', () => {
      const first = button.dataset.first;
      const second = first === 'ascending' ? 'descending' : 'ascending';
      const now = { null: first, [first]: second, [second]: null }[heading.getAttribute('aria-sort')];
      for (const other of headings) other.removeAttribute('aria-sort');
      if (now) heading.setAttribute('aria-sort', now);
      arrange(table, groups, column, now);
    });
  });
}

/** Groups of a section stay in it: measured and published lines do not mix. */
function arrange(table, groups, column, direction) {
  const sign = direction === 'descending' ? -1 : 1;
  const keys = new Map(groups.map((group) => [group, keyOf(group, column)]));
  for (const head of all('tbody.section', table)) {
    const members = groups.filter((group) => group.dataset.section === head.dataset.section);
    if (direction) members.sort((a, b) => compare(keys.get(a), keys.get(b), sign));
    head.after(...members);
  }
}
