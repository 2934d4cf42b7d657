// The viewer: one kept image of one run, what lies under and over it, its slots, and steps through the images by score.

const STAGE = 448; // pixels that the larger side of the stage has at least
const KEPT = 'as kept';

class Viewer {
  constructor() {
    this.entry = null; // what is shown of the gallery, and of it
    this.order = []; // the kept images, by score
    this.at = 0; // a place in the order
    this.off = new Set(); // labels of the slots that are switched off
    this.turn = 0; // counts what was asked for: pictures that come late are dropped
    byId('g-run').addEventListener('change', () => this.choose(byId('g-run').value));
    byId('g-metric').addEventListener('change', () => this.arrange(null));
    for (const radio of all('input[name="g-order"]')) radio.addEventListener('change', () => this.arrange(null));
    byId('g-prev').addEventListener('click', () => this.step(-1));
    byId('g-next').addEventListener('click', () => this.step(1));
    byId('g-all').addEventListener('click', () => this.switchAll(true));
    byId('g-none').addEventListener('click', () => this.switchAll(false));
    byId('g-opacity').addEventListener('input', () => this.draw());
    byId('g-outline').addEventListener('change', () => this.draw());
    byId('g-boxes').addEventListener('change', () => this.draw());
    for (const radio of all('input[name="g-base"], input[name="g-over"]')) radio.addEventListener('change', () => this.draw());
    for (const radio of all('input[name="g-plane"]')) radio.addEventListener('change', () => this.tiles());
    byId('viewer').addEventListener('keydown', (event) => this.key(event));
    document.addEventListener('filtered', () => this.list());
    document.addEventListener('theme', () => { if (this.entry) this.draw(); });
    this.list();
  }

  key(event) {
    if (event.target.matches('input, select') || event.altKey || event.ctrlKey || event.metaKey) return;
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    this.step(move);
  }

  /** The runs that pass the filters; the one on show stays if it does. */
  list() {
    const groups = new Map();
    data.gallery.runs.forEach((entry, number) => {
      const run = runs.get(entry.run);
      if (!passes({ ...run.facets, dataset: [entry.dataset] })) return;
      const option = element('option', { value: number }, `${run.series}, seed ${run.seed}`);
      groups.set(entry.where, [...(groups.get(entry.where) ?? []), option]);
    });
    const select = byId('g-run');
    const before = select.value;
    select.replaceChildren(...[...groups].map(([where, options]) => element('optgroup', { label: where }, ...options)));
    const options = all('option', select).map((option) => option.value);
    byId('viewer').hidden = options.length === 0;
    if (options.length === 0) return;
    select.value = options.includes(before) ? before : options[0];
    if (select.value !== before || !this.entry) this.choose(select.value);
  }

  async choose(number) {
    const entry = data.gallery.runs[number];
    const set = data.gallery.sets[entry.set];
    const turn = ++this.turn;
    const maps = await Promise.all([once(set.truth, unpacked), once(entry.prediction, unpacked)]);
    if (turn !== this.turn) return;
    const key = this.entry?.set === entry.set ? this.set.keys[this.image] : null;
    Object.assign(this, { entry, set, truthMaps: maps[0], predictionMaps: maps[1] });
    const select = byId('g-metric');
    const before = select.value;
    const names = [...Object.keys(entry.scores), KEPT];
    select.replaceChildren(...names.map((name) => element('option', { value: name }, titleOf(name))));
    select.value = names.includes(before) ? before : names.find((name) => name === 'ari_fg') ?? names[0];
    this.arrange(key);
  }

  /** Order by score; the image of `key` stays on show if it is there, otherwise the first comes. */
  arrange(key) {
    const metric = byId('g-metric').value;
    const scores = this.entry.scores[metric];
    this.order = this.set.keys.map((_, i) => i);
    if (scores) {
      const sign = chosen('g-order') === 'worst' ? -1 : 1;
      const rank = (i) => scores.ranks[i] ?? '-';
      this.order.sort((a, b) => compare(rank(a), rank(b), sign) || a - b);
    }
    for (const radio of all('input[name="g-order"]')) radio.disabled = !scores;
    const same = this.set.keys.indexOf(key);
    this.at = same < 0 ? 0 : this.order.indexOf(same);
    this.strip();
    this.show();
  }

  get image() { return this.order[this.at]; }

  step(move) {
    const to = this.at + move;
    if (to < 0 || to >= this.order.length) return;
    this.at = to;
    this.show();
  }

  strip() {
    const scores = this.entry.scores[byId('g-metric').value];
    byId('g-strip').replaceChildren(...this.order.map((image, place) => {
      const button = element('button', { type: 'button' },
        element('img', { src: this.set.images[image], alt: `image ${this.set.keys[image]}` }),
        element('span', {}, scores ? scores.texts[image] : String(place + 1)));
      button.addEventListener('click', () => { this.at = place; this.show(); });
      return button;
    }));
  }

  async show() {
    const turn = ++this.turn;
    const { image, set, entry } = this;
    this.where();
    const found = entry.images[image];
    const size = set.width * set.height;
    const parts = { image: set.images[image], reconstruction: found.reconstruction, planes: found.planes?.source,
      attention: found.attention?.source };
    const pictures = await Promise.all(Object.values(parts).map((source) => source && once(source, decoded)));
    if (turn !== this.turn) return;
    this.pictures = Object.fromEntries(Object.keys(parts).map((name, i) => [name, pictures[i]]));
    this.found = found;
    this.truth = this.truthMaps.subarray(image * size, (image + 1) * size);
    this.prediction = this.predictionMaps.subarray(image * size, (image + 1) * size);
    this.off = new Set();
    this.allow('g-base', 'reconstruction', Boolean(found.reconstruction), 'image');
    this.allow('g-plane', 'attention', Boolean(found.attention), 'component');
    byId('g-boxes-choice').hidden = !found.boxes;
    this.tiles();
    this.draw();
  }

  /** An option that this run cannot show is disabled, and `other` chosen in its place. */
  allow(name, value, possible, other) {
    const radio = document.querySelector(`input[name="${name}"][value="${value}"]`);
    radio.disabled = !possible;
    if (!possible && radio.checked) document.querySelector(`input[name="${name}"][value="${other}"]`).checked = true;
  }

  where() {
    const { entry, set, image, order, at } = this;
    const run = runs.get(entry.run);
    byId('g-prev').disabled = at === 0;
    byId('g-next').disabled = at === order.length - 1;
    byId('g-where').textContent = `${at + 1} of the ${order.length} kept of ${entry.n_images.toLocaleString('en')} images`;
    all('#g-strip button').forEach((button, place) => {
      if (place !== at) return button.removeAttribute('aria-current');
      button.setAttribute('aria-current', 'true');
      const strip = byId('g-strip');
      strip.scrollLeft = button.offsetLeft - (strip.clientWidth - button.offsetWidth) / 2;
    });
    const rows = Object.entries(entry.scores).map(([metric, { texts, ranks, ties, of }]) => {
      const rank = ranks[image] === null ? '' : `${ranks[image]} of ${of.toLocaleString('en')}`;
      const shared = ties[image] > 1 ? `${ties[image]} share it` : '';
      return element('tr', {}, element('th', { scope: 'row' }, titleOf(metric)), element('td', {}, texts[image]),
        element('td', {}, rank), element('td', {}, shared));
    });
    const head = element('tr', {}, ...['metric', 'value', 'rank', ''].map((text) => element('th', { scope: 'col' }, text)));
    byId('g-scores').replaceChildren(
      element('p', {}, `${run.series}, seed ${run.seed}: image ${set.keys[image]} (`,
        element('a', { href: `#${entry.run}` }, 'provenance'), ')'),
      ...(rows.length ? [element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows))] : []));
  }

  /** The slots in order: those with planes, then segments that have none. `place` is the plane in the atlas. */
  slots() {
    const { slots, planes } = this.found;
    const of = new Map(slots.map((slot) => [slot.label, slot]));
    const withPlane = (planes?.labels ?? []).map((label, place) => ({ label, ...of.get(label), place }));
    const rest = slots.filter((slot) => !planes?.labels.includes(slot.label));
    return [...withPlane, ...rest];
  }

  tiles() {
    const pressed = (slot) => String(!this.off.has(slot.label));
    byId('g-slots').replaceChildren(...this.slots().map((slot) => {
      const swatch = element('span', { class: 'swatch' });
      swatch.style.background = slot.colour ?? 'transparent';
      const match = slot.true === undefined ? 'no match' : slot.true === 0 ? 'background' : `object ${slot.true}`;
      const lines = slot.share === undefined ? ['no pixel', '']
        : [match, slot.iou === undefined ? `${(100 * slot.share).toFixed(1)} % area` : `IoU ${(100 * slot.iou).toFixed(1)}`];
      const button = element('button', { type: 'button', class: 'slot', 'aria-pressed': pressed(slot) },
        this.tile(slot), element('span', { class: 'slot-name' }, swatch, `slot ${slot.label + 1}`),
        ...lines.map((line) => element('span', { class: 'slot-line' }, line)));
      button.addEventListener('click', () => {
        if (!this.off.delete(slot.label)) this.off.add(slot.label);
        button.setAttribute('aria-pressed', pressed(slot));
        this.draw();
      });
      return button;
    }));
    const { planes } = this.found;
    byId('g-note').textContent = [
      planes ? '' : 'This method has hard segments only: a slot is the image where its segment is.',
      planes && !planes.components ? 'This method keeps no components: a slot is the image seen through its mask.' : '',
      planes && planes.labels.length < planes.of ? `The ${planes.labels.length} largest of ${planes.of} planes are kept.` : '',
    ].join(' ');
  }

  tile(slot) {
    const { width, height } = this.set;
    const [tile, context] = canvas(width, height);
    const mode = chosen('g-plane');
    if (mode === 'attention' && slot.place !== undefined) {
      const { width: w, height: h } = this.found.attention;
      context.imageSmoothingEnabled = false;
      context.drawImage(this.pictures.attention, 0, slot.place * h, w, h, 0, 0, width, height);
    } else if (mode === 'mask') {
      context.drawImage(asGray(this.maskOf([slot]), width, height), 0, 0);
    } else {
      checkerboard(context, width, height);
      context.drawImage(this.composed([slot]), 0, 0, width, height);
    }
    return tile;
  }

  /** The masks of `slots` added up, as alpha: soft where there are planes, hard elsewhere. */
  maskOf(slots) {
    const { width, height } = this.set;
    const planes = slots.filter((slot) => slot.place !== undefined);
    const hard = new Set(slots.filter((slot) => slot.place === undefined).map((slot) => slot.label));
    const [mask, context] = canvas(width, height);
    context.globalCompositeOperation = 'lighter';
    if (planes.length) {
      const sum = sumOfPlanes(this.pictures.planes, this.found.planes, planes.map((slot) => slot.place));
      context.drawImage(sum, 0, 0, width, height);
    }
    if (hard.size) context.drawImage(painted(this.prediction, width, height, this.colours(hard)), 0, 0);
    return mask;
  }

  /** What the method makes of the image in `slots`: its components through their masks, or the image itself. */
  composed(slots) {
    const mask = this.maskOf(slots);
    if (this.found.planes?.components) return mask; // its colours are those of the components
    return seenThrough(mask, this.pictures.image, this.set.width, this.set.height);
  }

  /** Index in the prediction -> colour, of the slots with these labels. */
  colours(labels) {
    return new Map(this.found.slots.flatMap((slot, index) => (labels.has(slot.label) ? [[index, rgb(slot.colour)]] : [])));
  }

  switchAll(on) {
    this.off = new Set(on ? [] : this.slots().map((slot) => slot.label));
    for (const button of all('#g-slots .slot')) button.setAttribute('aria-pressed', String(on));
    this.draw();
  }

  draw() {
    const { width, height } = this.set;
    const scale = Math.max(1, Math.ceil(STAGE / Math.max(width, height)));
    const stage = byId('g-stage');
    [stage.width, stage.height] = [width * scale, height * scale];
    const context = stage.getContext('2d');
    context.imageSmoothingEnabled = false;
    const on = this.slots().filter((slot) => !this.off.has(slot.label));
    const base = chosen('g-base');
    const over = chosen('g-over');
    if (base === 'nothing') {
      context.fillStyle = getComputedStyle(stage).backgroundColor;
      context.fillRect(0, 0, stage.width, stage.height);
    } else if (base === 'slots') {
      checkerboard(context, stage.width, stage.height);
      context.drawImage(this.composed(on), 0, 0, stage.width, stage.height);
    } else {
      context.drawImage(this.pictures[base], 0, 0, stage.width, stage.height);
    }
    const opacity = byId('g-opacity').value;
    byId('g-opacity-value').textContent = `${opacity} %`;
    byId('g-opacity').disabled = over === 'nothing';
    if (over !== 'nothing') {
      const truth = new Map(Object.entries(this.set.colours).map(([label, hex]) => [Number(label), rgb(hex)]));
      const labels = over === 'truth' ? this.truth : this.prediction;
      const colours = over === 'truth' ? truth : this.colours(new Set(on.map((slot) => slot.label)));
      context.globalAlpha = opacity / 100;
      context.drawImage(painted(labels, width, height, colours), 0, 0, stage.width, stage.height);
      context.globalAlpha = 1;
    }
    if (byId('g-outline').checked) outline(context, this.truth, width, height, scale);
    if (byId('g-boxes').checked) drawBoxes(context, (this.found.boxes ?? []).filter((box) => !this.off.has(box.label)));
    const above = over === 'nothing' ? '' : `, ${over} over it at ${opacity} %`;
    stage.setAttribute('aria-label', `image ${this.set.keys[this.image]}: ${base}${above}; arrow keys step through the images`);
  }
}

if (byId('viewer')) new Viewer();
filterAll();
