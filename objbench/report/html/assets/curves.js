// Curves: one chart per training set, one line per run. The pointer or the arrow keys pick a point, which is read out.

const SVG = 'http://www.w3.org/2000/svg';
const MARGIN = { top: 8, right: 10, bottom: 26, left: 46 };
const HEIGHT = 230;
const DASHES = ['', '6 3', '2 2'];
const COLOURS = 10; // as many as the style has, --c0 to --c9
const HINTS = {
  loss: "Each method's own total loss while it trains: not comparable between methods. Logarithmic where all values are positive.",
};
const VALIDATION = 'Means over the validation images for which it is defined, by the step of training';
const hint = (curve) => HINTS[curve]
  ?? VALIDATION + (inPercent(curve) ? ', in percent.' : '. Logarithmic where all values are positive.');
const inPercent = (curve) => data.percent.includes(curve);

const runs = new Map(data.runs.map((run) => [run.id, run]));
const seriesOf = new Map(); // series -> its place among all, which gives its colour everywhere
for (const run of data.runs) {
  if (data.curves[run.id] && !seriesOf.has(run.series)) seriesOf.set(run.series, seriesOf.size);
}
const lineStyle = (series) => {
  const place = seriesOf.get(series);
  return { colour: `var(--c${place % COLOURS})`, dash: DASHES[Math.floor(place / COLOURS) % DASHES.length] };
};

function svg(name, attributes = {}, text = '') {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

/** Round values that divide [low, high] into about `count` parts. */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push(i * step);
  return found;
}

function powers(low, high) {
  const found = [];
  const every = Math.max(1, Math.ceil((high - low) / 6));
  for (let power = Math.ceil(low - 1e-9); power <= high + 1e-9; power += every) found.push(power);
  return found.length > 1 ? found : ticks(low, high, 4);
}

const short = (value) => {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  return String(Number(value.toPrecision(4)));
};
const spoken = (value, curve) => (inPercent(curve) ? value.toFixed(1) : value.toPrecision(4));

/** The lines of a chart and where their points are drawn. */
function plot(lines, curve, width) {
  const logarithmic = !inPercent(curve) && lines.every(({ y }) => y.every((value) => value > 0));
  const height = (value) => (logarithmic ? Math.log10(value) : value);
  const values = lines.flatMap(({ y }) => y.map(height));
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (inPercent(curve)) { low = Math.min(0, low); high = Math.max(100, high); }
  if (high === low) { high += 1; low -= 1; }
  const last = Math.max(1, ...lines.map(({ x }) => x.at(-1)));
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const toX = (step) => MARGIN.left + (step / last) * inner.width;
  const toY = (value) => MARGIN.top + (1 - (value - low) / (high - low)) * inner.height;
  const marksY = logarithmic ? powers(low, high) : ticks(low, high, 4);
  return {
    x: ticks(0, last, Math.max(2, Math.min(6, inner.width / 70))).map((step) => [toX(step), short(step)]),
    y: marksY.map((mark) => [toY(mark), short(logarithmic ? 10 ** mark : mark)]),
    lines: lines.map((line) => ({
      ...line,
      points: line.x.map((step, i) => [toX(step), toY(height(line.y[i]))]),
    })),
  };
}

class Chart {
  constructor(set) {
    this.set = set;
    this.readout = element('output', { class: 'readout', 'aria-live': 'polite' });
    this.drawing = svg('svg', { tabindex: '0', role: 'img', class: 'chart' });
    this.keys = element('ul', { class: 'keys' });
    this.figure = element('figure', {},
      element('figcaption', {}, element('h3', {}, set), this.readout), this.drawing, this.keys);
    this.drawing.addEventListener('pointermove', (event) => this.pick(this.nearest(event)));
    this.drawing.addEventListener('pointerleave', () => this.pick(null));
    this.drawing.addEventListener('blur', () => this.pick(null));
    this.drawing.addEventListener('keydown', (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.figure);
  }

  draw() {
    const width = this.figure.clientWidth;
    const curve = chosen('curve');
    const members = data.runs.filter((run) => run.trained_on === this.set && data.curves[run.id]?.[curve] && passes(run.facets));
    const logged = data.runs.some((run) => run.trained_on === this.set && data.curves[run.id] && passes(run.facets));
    this.figure.hidden = !logged;
    this.plot = null;
    this.picked = null;
    this.readout.textContent = members.length ? '' : `no values of ${titleOf(curve)}`;
    this.drawing.replaceChildren();
    this.keys.replaceChildren();
    if (!width || !members.length) return;
    this.plot = plot(members.map((run) => ({ run, ...data.curves[run.id][curve] })), curve, width);
    this.drawing.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    this.drawing.setAttribute('height', HEIGHT);
    this.drawing.setAttribute('aria-label',
      `${titleOf(curve)} of ${members.length} runs on ${this.set} by step; arrow keys read the points`);
    this.axes(width);
    for (const line of this.plot.lines) this.line(line);
    this.spot = svg('circle', { r: 4, class: 'spot', visibility: 'hidden' });
    this.drawing.append(this.spot);
    this.legend(members);
  }

  axes(width) {
    for (const [y, text] of this.plot.y) {
      this.drawing.append(
        svg('line', { class: 'grid', x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }),
        svg('text', { class: 'tick', x: MARGIN.left - 7, y: y + 4, 'text-anchor': 'end' }, text));
    }
    for (const [x, text] of this.plot.x) {
      const anchor = x > width - 30 ? 'end' : 'middle';
      this.drawing.append(svg('text', { class: 'tick', x, y: HEIGHT - 8, 'text-anchor': anchor }, text));
    }
  }

  line(line) {
    const { colour, dash } = lineStyle(line.run.series);
    const points = line.points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`);
    line.path = svg('polyline', { class: 'curve', points: points.join(' '), 'stroke-dasharray': dash });
    line.path.style.stroke = colour;
    this.drawing.append(line.path);
    if (points.length === 1) {
      const [x, y] = line.points[0];
      const dot = svg('circle', { cx: x, cy: y, r: 2.5 });
      dot.style.fill = colour;
      this.drawing.append(dot);
    }
  }

  legend(members) {
    const seeds = new Map();
    for (const run of members) seeds.set(run.series, [...(seeds.get(run.series) ?? []), run.seed]);
    for (const [series, numbers] of seeds) {
      const { colour, dash } = lineStyle(series);
      const stroke = svg('line', { x1: 0, x2: 22, y1: 5, y2: 5, 'stroke-width': 2, 'stroke-dasharray': dash });
      stroke.style.stroke = colour;
      const swatch = svg('svg', { width: 22, height: 10, 'aria-hidden': 'true' });
      swatch.append(stroke);
      const several = numbers.length > 1 ? ` (${numbers.length} seeds)` : '';
      this.keys.append(element('li', { title: series }, swatch, element('span', {}, series + several)));
    }
  }

  nearest(event) {
    if (!this.plot) return null;
    const box = this.drawing.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null;
    let distance = Infinity;
    this.plot.lines.forEach(({ points }, line) => points.forEach(([px, py], point) => {
      const d = (px - x) ** 2 + (py - y) ** 2;
      if (d < distance) { distance = d; best = { line, point }; }
    }));
    return best;
  }

  pick(place) {
    this.picked = place;
    if (!this.plot) return;
    this.spot.setAttribute('visibility', place ? 'visible' : 'hidden');
    this.plot.lines.forEach((line, i) => {
      line.path.classList.toggle('faint', place !== null && i !== place.line);
      line.path.classList.toggle('bold', place !== null && i === place.line);
    });
    this.readout.textContent = '';
    if (!place) return;
    const line = this.plot.lines[place.line];
    const [x, y] = line.points[place.point];
    this.spot.setAttribute('cx', x);
    this.spot.setAttribute('cy', y);
    this.spot.style.fill = lineStyle(line.run.series).colour;
    const curve = chosen('curve');
    const step = line.x[place.point].toLocaleString('en');
    const thinned = line.every ? ` (every ${line.every}th point is shown)` : '';
    this.readout.textContent =
      `${line.run.series} seed ${line.run.seed}, step ${step}: ${titleOf(curve)} ${spoken(line.y[place.point], curve)}${thinned}`;
  }

  key(event) {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!move || !this.plot) return;
    event.preventDefault();
    const { lines } = this.plot;
    const line = this.picked ? (this.picked.line + move[0] + lines.length) % lines.length : 0;
    const last = lines[line].points.length - 1;
    const point = this.picked ? Math.max(0, Math.min(last, this.picked.point + move[1])) : last;
    this.pick({ line, point });
  }
}

if (byId('charts')) {
  const sets = new Set(data.runs.filter((run) => data.curves[run.id]).map((run) => run.trained_on));
  const charts = [...sets].map((set) => new Chart(set));
  byId('charts').append(...charts.map((chart) => chart.figure));
  const draw = () => {
    byId('curve-hint').textContent = hint(chosen('curve'));
    for (const chart of charts) chart.draw();
  };
  byId('curve-choice').addEventListener('change', draw);
  document.addEventListener('filtered', draw);
  draw();
}
