(() => {
'use strict';

const byId = (id) => document.getElementById(id);

// A mistake in this page is shown, not swallowed.
window.addEventListener('error', (event) => complain(event.message));
window.addEventListener('unhandledrejection', (event) => complain(String(event.reason)));

function complain(message) {
  const place = byId('error');
  place.textContent += (place.textContent ? '\n' : '') + message;
  place.hidden = false;
}

const facts = JSON.parse(byId('facts').textContent);
// pictures[moment][clip]: the data of a picture.
const pictures = JSON.parse(byId('pictures').textContent);
const { clips, width, height, frames } = facts;

const canvas = byId('canvas');
const stage = byId('stage');
const context = canvas.getContext('2d');

const MIN_ZOOM = 1 / 16;
const MAX_ZOOM = 64;
const ZOOM_STEP = 1.25;
const WIPE_STEP = 0.02;
// Seconds between moments of a clip that states no rate, and the bounds of it otherwise.
const PACE = { usual: 1 / 25, least: 1 / 60, most: 1 };

// What is shown. `moment` is a place in `frames`; a `zoom` of null fits the picture into the
// stage; `x` and `y` are the point of the picture in the middle of the stage.
const view = { moment: 0, wipe: 0.5, zoom: null, x: width / 2, y: height / 2, a: 0, b: 1 };

// ---- The view and the address ------------------------------------------------------------

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (name, least, most, usual) => {
    const value = given.has(name) ? Number(given.get(name)) : NaN;
    return Number.isFinite(value) ? clamp(value, least, most) : usual;
  };
  const last = clips.length - 1;
  view.moment = momentOf(number('frame', 0, facts.total - 1, frames[0]));
  view.wipe = number('wipe', 0, 1, 0.5);
  view.zoom = number('zoom', MIN_ZOOM, MAX_ZOOM, null);
  view.x = number('x', 0, width, width / 2);
  view.y = number('y', 0, height, height / 2);
  view.a = Math.round(number('a', 0, last, 0));
  view.b = Math.round(number('b', 0, last, Math.min(1, last)));
}

function address() {
  const short = (value) => String(Math.round(value * 1000) / 1000);
  const parts = [`frame=${frames[view.moment]}`, `wipe=${short(view.wipe)}`];
  if (view.zoom !== null) {
    parts.push(`zoom=${short(view.zoom)}`, `x=${short(view.x)}`, `y=${short(view.y)}`);
  }
  parts.push(`a=${view.a}`, `b=${view.b}`);
  return '#' + parts.join('&');
}

// Browsers refuse an address that changes too often: Safari takes 100 changes in 30 s.
const ADDRESS_PAUSE = 400;
let addressTimer = 0;
function keepAddress() {
  if (addressTimer) return;
  addressTimer = setTimeout(() => {
    addressTimer = 0;
    if (location.hash === address()) return;
    try {
      history.replaceState(null, '', address());
    } catch {
      // The view goes on without it; the next change is another try.
    }
  }, ADDRESS_PAUSE);
}

// The moment in the page that is nearest to a frame of the clip.
function momentOf(frame) {
  let best = 0;
  frames.forEach((at, moment) => {
    if (Math.abs(at - frame) < Math.abs(frames[best] - frame)) best = moment;
  });
  return best;
}

// ---- The stage -----------------------------------------------------------------------------

function fitting() {
  return Math.min(stage.clientWidth / width, stage.clientHeight / height);
}

// Where the picture lies on the stage, in pixels of the page.
function placement() {
  const scale = view.zoom ?? fitting();
  const along = (size, room, at) => {
    const shown = size * scale;
    if (shown <= room) return (room - shown) / 2;
    return clamp(room / 2 - at * scale, room - shown, 0);
  };
  const left = along(width, stage.clientWidth, view.x);
  const top = along(height, stage.clientHeight, view.y);
  return { scale, left, top };
}

// The part of the stage, from left to right, that the picture covers: the wipe moves in it.
function covered({ scale, left }) {
  const from = Math.max(left, 0);
  return { from, span: Math.min(left + width * scale, stage.clientWidth) - from };
}

const images = new Map();
function image(moment, clip) {
  const key = moment * clips.length + clip;
  let found = images.get(key);
  if (!found) {
    found = new Image();
    found.addEventListener('load', draw);
    found.addEventListener('error', () => complain(`frame ${frames[moment]} of ${clips[clip].name} cannot be shown`));
    found.src = pictures[moment][clip];
    images.set(key, found);
  }
  return found;
}

function ready(picture) {
  return picture.complete && picture.naturalWidth > 0;
}

function paint(picture, clip, place, from, to) {
  const dots = window.devicePixelRatio || 1;
  context.save();
  context.beginPath();
  context.rect(from * dots, 0, (to - from) * dots, canvas.height);
  context.clip();
  // Enlarged pixels stay squares.
  context.imageSmoothingEnabled = place.scale * dots * width < clips[clip].width;
  context.imageSmoothingQuality = 'high';
  const at = [Math.round(place.left * dots), Math.round(place.top * dots)];
  context.drawImage(picture, ...at, width * place.scale * dots, height * place.scale * dots);
  context.restore();
}

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawNow();
  });
}

function drawNow() {
  const dots = window.devicePixelRatio || 1;
  const [w, h] = [stage.clientWidth, stage.clientHeight].map((side) => Math.round(side * dots));
  const place = placement();
  const { from, span } = covered(place);
  const line = from + view.wipe * span;
  byId('wipe').style.left = `${line}px`;
  stage.classList.toggle('enlarged', isEnlarged(place));
  const [a, b] = [image(view.moment, view.a), image(view.moment, view.b)];
  // What was shown stays until both are there: no flicker while frames are decoded.
  if (!ready(a) || !ready(b)) return;
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  context.clearRect(0, 0, w, h);
  paint(a, view.a, place, 0, line);
  paint(b, view.b, place, line, stage.clientWidth);
}

function isEnlarged({ scale }) {
  return width * scale > stage.clientWidth + 1 || height * scale > stage.clientHeight + 1;
}

// ---- What is said beside it ----------------------------------------------------------------

const decibels = (value) => (value === null || value === 'inf' ? '∞' : value.toFixed(2));
const share = (value) => value.toFixed(4);

function show() {
  const frame = frames[view.moment];
  const percent = Math.round(view.wipe * 100);
  byId('left').value = String(view.a);
  byId('right').value = String(view.b);
  byId('left-name').textContent = clips[view.a].name;
  byId('right-name').textContent = clips[view.b].name;
  byId('left-name').hidden = view.wipe === 0;
  byId('right-name').hidden = view.wipe === 1;
  byId('position').value = String(view.moment);
  byId('position').setAttribute('aria-valuetext', `frame ${frame}`);
  byId('frame').textContent = `frame ${frame} / ${facts.total - 1}`;
  byId('zoom').textContent = `${Math.round((view.zoom ?? fitting()) * 100)} %`;
  byId('wipe').setAttribute('aria-valuenow', String(percent));
  byId('wipe').setAttribute('aria-valuetext', `${percent} % ${clips[view.a].name}, ${100 - percent} % ${clips[view.b].name}`);
  canvas.setAttribute('aria-label', `Frame ${frame}: ${clips[view.a].name} on the left, ${clips[view.b].name} on the right`);
  for (const cell of document.querySelectorAll('[data-now]')) {
    const [metric, clip] = cell.dataset.now.split(' ');
    const value = clips[clip][metric][frame];
    cell.textContent = metric === 'psnr' ? decibels(value) : share(value);
  }
  for (const mark of document.querySelectorAll('.now')) {
    const x = mark.ownerSVGElement.acrossOf(frame);
    mark.setAttribute('x1', x);
    mark.setAttribute('x2', x);
  }
  draw();
  keepAddress();
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const colour = (clip) => `var(--c${clip % 6})`;

function scoreCells(clip, index) {
  if (!clip.mean) return Array.from({ length: 6 }, () => element('td', '–'));
  const { psnr, ssim, psnr_y: psnrY, ssim_y: ssimY } = clip.mean;
  const means = [decibels(psnr), share(ssim), decibels(psnrY), share(ssimY)];
  const now = ['psnr', 'ssim'].map((metric) => element('td', '', { 'data-now': `${metric} ${index}` }));
  return [...means.map((mean) => element('td', mean)), ...now];
}

function fillTable() {
  const table = byId('clips');
  const scored = clips.some((clip) => clip.mean);
  const head = element('tr', null);
  const headings = scored
    ? ['', 'PSNR', 'SSIM', 'PSNR-Y', 'SSIM-Y', 'PSNR, this frame', 'SSIM, this frame', 'size']
    : ['', 'size'];
  for (const heading of headings) head.append(element('th', heading, { scope: 'col' }));
  table.append(element('thead', null));
  table.tHead.append(head);
  const body = table.appendChild(element('tbody', null));
  clips.forEach((clip, index) => {
    const row = body.appendChild(element('tr', null));
    const name = row.appendChild(element('th', null, { scope: 'row', title: clip.name }));
    if (clip.mean) name.append(element('span', '', { class: 'swatch', style: `background:${colour(index)}` }));
    name.append(clip.name);
    if (scored) row.append(...scoreCells(clip, index));
    row.append(element('td', `${clip.width}×${clip.height}`));
  });
}

// ---- Plots -----------------------------------------------------------------------------------

const ROOM = { left: 48, right: 10, top: 8, bottom: 22, height: 170 };
// A line with more points than this is drawn by the least and greatest of every stretch.
const MOST_POINTS = 1500;

function drawPlots() {
  const scored = clips.map((clip, index) => ({ ...clip, index })).filter((clip) => clip.mean);
  const plots = byId('plots');
  plots.replaceChildren();
  if (!scored.length) return;
  const wanted = [['psnr', 'PSNR, dB', 1], ['ssim', 'SSIM', 3]];
  // All of them stand before the first one is measured: they share the row.
  const figures = wanted.map(() => plots.appendChild(element('figure', null)));
  wanted.forEach(([metric, title, digits], place) => {
    const figure = figures[place];
    figure.append(element('h2', title), plot(scored, metric, title, digits, figure.clientWidth));
  });
  show();
}

function vector(name, attributes, text = null) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

function plot(scored, metric, title, digits, across) {
  const inner = Math.max(across - ROOM.left - ROOM.right, 1);
  const down = ROOM.height - ROOM.top - ROOM.bottom;
  const finite = scored.flatMap((clip) => clip[metric]).filter((value) => value !== null);
  let least = finite.reduce((a, b) => Math.min(a, b), Infinity);
  let most = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!finite.length) [least, most] = [0, 1];
  const margin = Math.max((most - least) * 0.08, 10 ** -digits);
  [least, most] = [least - margin, most + margin];
  const x = (frame) => ROOM.left + inner * (frame / Math.max(facts.total - 1, 1));
  // Equal pictures have an infinite PSNR, which is drawn at the top.
  const y = (value) => ROOM.top + (value === null ? 0 : down * (1 - (value - least) / (most - least)));
  const svg = vector('svg', {
    viewBox: `0 0 ${across} ${ROOM.height}`, role: 'img',
    'aria-label': `${title} of every frame: ` + scored.map((clip) => `${clip.name} ${metric === 'psnr' ? decibels(clip.mean.psnr) : share(clip.mean.ssim)} on average`).join(', '),
  });
  svg.acrossOf = x;
  for (const part of [0.1, 0.5, 0.9]) {
    const value = least + part * (most - least);
    svg.append(vector('line', { class: 'grid', x1: ROOM.left, x2: ROOM.left + inner, y1: y(value), y2: y(value) }));
    svg.append(vector('text', { x: ROOM.left - 6, y: y(value) + 4, 'text-anchor': 'end' }, value.toFixed(digits)));
  }
  svg.append(vector('text', { x: ROOM.left, y: ROOM.height - 6 }, '0'));
  svg.append(vector('text', { x: ROOM.left + inner, y: ROOM.height - 6, 'text-anchor': 'end' }, String(facts.total - 1)));
  for (const clip of scored) {
    const points = thinned(clip[metric]).map(([frame, value]) => `${x(frame).toFixed(1)} ${y(value).toFixed(1)}`);
    // A single point is a line to itself.
    if (points.length === 1) points.push(points[0]);
    svg.append(vector('path', { d: 'M' + points.join('L'), style: `stroke:${colour(clip.index)}`, 'stroke-linecap': 'round' }));
  }
  svg.append(vector('line', { class: 'now', y1: ROOM.top, y2: ROOM.top + down }));
  svg.addEventListener('click', (event) => {
    pause();
    const at = event.clientX - svg.getBoundingClientRect().left - ROOM.left;
    goTo(momentOf(Math.round((at / inner) * (facts.total - 1))));
  });
  return svg;
}

function thinned(values) {
  if (values.length <= MOST_POINTS) return values.map((value, frame) => [frame, value]);
  const points = [];
  const stretch = Math.ceil((2 * values.length) / MOST_POINTS);
  const size = (value) => (value === null ? Infinity : value);
  for (let from = 0; from < values.length; from += stretch) {
    let [low, high] = [from, from];
    for (let at = from; at < Math.min(from + stretch, values.length); at += 1) {
      if (size(values[at]) < size(values[low])) low = at;
      if (size(values[at]) > size(values[high])) high = at;
    }
    for (const at of [low, high].sort((a, b) => a - b)) points.push([at, values[at]]);
  }
  return points;
}

// ---- Moving ----------------------------------------------------------------------------------

function goTo(moment) {
  view.moment = clamp(moment, 0, frames.length - 1);
  show();
}

function step(by) {
  pause();
  goTo(view.moment + by);
}

let playing = 0;
function pause() {
  clearTimeout(playing);
  playing = 0;
  showPlaying();
}

function play() {
  const next = (view.moment + 1) % frames.length;
  const apart = Math.max(frames[next] - frames[view.moment], 1);
  const pace = facts.rate ? apart / facts.rate : PACE.usual;
  [view.a, view.b].forEach((clip) => image(next, clip));
  playing = setTimeout(() => {
    // A frame that is not decoded yet is waited for.
    if ([view.a, view.b].every((clip) => ready(image(next, clip)))) goTo(next);
    play();
  }, 1000 * clamp(pace, PACE.least, PACE.most));
  showPlaying();
}

function toggle() {
  if (playing) pause();
  else if (frames.length > 1) play();
}

function showPlaying() {
  const button = byId('play');
  button.textContent = playing ? '❚❚' : '▶';
  button.setAttribute('aria-label', playing ? 'Pause' : 'Play');
  button.setAttribute('aria-pressed', String(Boolean(playing)));
}

function setWipe(wipe) {
  view.wipe = clamp(wipe, 0, 1);
  show();
}

// Puts the middle of the stage where what is shown there really lies, clamped at the edges.
function settle() {
  const { scale, left, top } = placement();
  view.x = clamp((stage.clientWidth / 2 - left) / scale, 0, width);
  view.y = clamp((stage.clientHeight / 2 - top) / scale, 0, height);
}

// Zooms so that the point of the picture under (x, y) of the stage stays there.
function zoomTo(zoom, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const { scale, left, top } = placement();
  const [px, py] = [(x - left) / scale, (y - top) / scale];
  view.zoom = clamp(zoom, MIN_ZOOM, MAX_ZOOM);
  view.x = px + (stage.clientWidth / 2 - x) / view.zoom;
  view.y = py + (stage.clientHeight / 2 - y) / view.zoom;
  settle();
  show();
}

function zoomBy(factor, x, y) {
  zoomTo((view.zoom ?? fitting()) * factor, x, y);
}

function fit() {
  Object.assign(view, { zoom: null, x: width / 2, y: height / 2 });
  show();
}

function panBy(dx, dy) {
  const { scale } = placement();
  view.zoom = scale;
  view.x -= dx / scale;
  view.y -= dy / scale;
  settle();
  show();
}

function swap() {
  [view.a, view.b] = [view.b, view.a];
  show();
}

// ---- Hands -------------------------------------------------------------------------------------

function onStage(event) {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function wipeTo(event) {
  const { from, span } = covered(placement());
  setWipe((onStage(event)[0] - from) / Math.max(span, 1));
}

// Pointers that are down, by where they were last; a second one makes it a pinch.
const pointers = new Map();
let wiping = false;

function pressed(event) {
  if (event.button !== 0) return;
  const onHandle = event.target.closest('#wipe') !== null;
  if (!onHandle) event.preventDefault();
  if (pointers.size === 0) wiping = onHandle || !isEnlarged(placement());
  pointers.set(event.pointerId, onStage(event));
  // A pointer that a program made up cannot be captured.
  if (event.isTrusted) stage.setPointerCapture(event.pointerId);
  stage.classList.toggle('dragging', !wiping);
  if (wiping && pointers.size === 1) wipeTo(event);
}

function moved(event) {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const now = onStage(event);
  if (pointers.size >= 2) {
    const [, other] = [...pointers].find(([id]) => id !== event.pointerId);
    const apart = (point) => Math.max(Math.hypot(point[0] - other[0], point[1] - other[1]), 1);
    zoomBy(apart(now) / apart(last), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  } else if (wiping) {
    wipeTo(event);
  } else {
    panBy(now[0] - last[0], now[1] - last[1]);
  }
  pointers.set(event.pointerId, now);
}

function released(event) {
  pointers.delete(event.pointerId);
  if (pointers.size === 0) stage.classList.remove('dragging');
}

function typed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target instanceof Element ? event.target : document.body;
  const tool = target.closest('select, input, button, summary');
  const onWipe = target.closest('#wipe') !== null;
  const pan = event.shiftKey && { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
  const onFocusedWipe = { ArrowLeft: -WIPE_STEP, ArrowRight: WIPE_STEP, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
  const keys = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    Home: () => step(-frames.length), End: () => step(frames.length),
    ' ': toggle, '+': () => zoomBy(ZOOM_STEP), '=': () => zoomBy(ZOOM_STEP), '-': () => zoomBy(1 / ZOOM_STEP),
    0: fit, 1: () => zoomTo(1),
    a: () => setWipe(view.wipe - WIPE_STEP), d: () => setWipe(view.wipe + WIPE_STEP), s: swap,
  };
  // A focused control keeps the keys that it has a use for.
  const taken = tool && (tool.matches('select')
    || (tool.matches('button, summary') && [' ', 'Enter'].includes(event.key))
    || (tool.matches('input') && (event.key.startsWith('Arrow') || ['Home', 'End'].includes(event.key))));
  if (taken) return;
  if (pan) panBy(...pan);
  else if (onWipe && onFocusedWipe) setWipe(view.wipe + onFocusedWipe);
  else if (Object.hasOwn(keys, event.key)) keys[event.key]();
  else if (Object.hasOwn(keys, event.key.toLowerCase())) keys[event.key.toLowerCase()]();
  else return;
  event.preventDefault();
}

function listen() {
  const click = (id, action) => byId(id).addEventListener('click', action);
  click('previous', () => step(-1));
  click('next', () => step(1));
  click('play', toggle);
  click('swap', swap);
  click('zoom-in', () => zoomBy(ZOOM_STEP));
  click('zoom-out', () => zoomBy(1 / ZOOM_STEP));
  click('fit', fit);
  click('actual', () => zoomTo(1));
  byId('position').addEventListener('input', (event) => { pause(); goTo(Number(event.target.value)); });
  byId('left').addEventListener('change', (event) => { view.a = Number(event.target.value); show(); });
  byId('right').addEventListener('change', (event) => { view.b = Number(event.target.value); show(); });
  stage.addEventListener('pointerdown', pressed);
  stage.addEventListener('pointermove', moved);
  stage.addEventListener('pointerup', released);
  stage.addEventListener('pointercancel', released);
  stage.addEventListener('wheel', (event) => {
    event.preventDefault();
    const notches = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
    zoomBy(ZOOM_STEP ** -clamp(notches, -4, 4), ...onStage(event));
  }, { passive: false });
  document.addEventListener('keydown', typed);
  window.addEventListener('hashchange', () => { pause(); readAddress(); show(); });
  let wide = stage.clientWidth;
  window.addEventListener('resize', () => {
    if (stage.clientWidth !== wide) drawPlots();
    wide = stage.clientWidth;
    show();
  });
}

function begin() {
  stage.style.aspectRatio = `${width} / ${height}`;
  for (const id of ['left', 'right']) {
    clips.forEach((clip, index) => byId(id).append(element('option', clip.name, { value: index })));
  }
  byId('position').max = String(frames.length - 1);
  byId('notes').textContent = facts.notes.join(' · ');
  byId('notes').hidden = facts.notes.length === 0;
  readAddress();
  fillTable();
  listen();
  drawPlots();
  show();
}

begin();
})();
