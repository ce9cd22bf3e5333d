// A piano roll on a canvas: only what is in view is drawn, so a song of any length scrolls freely.
// Rolls of one page share zoom and place, so that duplicates lie side by side.
"use strict";

const GUTTER = 92, HEAD = 16, DRUM_ROW = 13, BAR_NUMBERS = 18, MOST_ROWS = 60, PROGRAM_COUNT = 128;
const HUES = [187, 16, 265, 42, 135, 336, 215, 80, 300, 0, 160, 240];
const dark = matchMedia("(prefers-color-scheme: dark)");
const rolls = []; // the first is that of the open song
let zoom = 0, follows = true; // pixels per step; 0: the whole song fits

const at = (id) => document.getElementById(id);

function element(tag, text, className = "") {
  return Object.assign(document.createElement(tag), {textContent: text ?? "", className});
}

class Roll {
  constructor(music, name, onSeek) {
    this.music = music;
    this.end = music.clock.at(-1)[0];
    this.step = 0;
    const pitched = music.notes.filter((note) => note[2] < PROGRAM_COUNT);
    const counts = new Map();
    for (const [, , instrument] of pitched) counts.set(instrument, (counts.get(instrument) || 0) + 1);
    this.programs = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || a - b);
    this.drums = Object.keys(music.names).map(Number).filter((one) => one >= PROGRAM_COUNT).reverse()
      .slice(-MOST_ROWS);
    const pitches = pitched.map((note) => note[3]);
    this.low = pitches.reduce((a, b) => Math.min(a, b), 127) - 1;
    this.high = Math.max(pitches.reduce((a, b) => Math.max(a, b), 0) + 1, this.low + 24);
    this.semitone = Math.min(Math.max(260 / (this.high - this.low + 1), 3), 7);
    this.pitchedHeight = HEAD + (pitched.length ? this.semitone * (this.high - this.low + 1) : 0);
    this.height = Math.ceil(this.pitchedHeight + DRUM_ROW * this.drums.length + BAR_NUMBERS);
    this.box = element("div", "", "roll");
    this.sheet = element("div", "", "sheet");
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `Piano roll of ${name}`);
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "group");
    this.box.setAttribute("aria-label", `Piano roll of ${name}, scrolls`);
    this.sheet.append(this.canvas);
    this.box.append(this.sheet);
    this.box.addEventListener("scroll", () => this.scrolled());
    this.box.addEventListener("click", (event) => onSeek?.(this.stepAt(event)));
  }

  get room() { return Math.max(this.box.clientWidth - GUTTER, 50); }
  get scale() { return zoom || this.room / rolls.reduce((most, roll) => Math.max(most, roll.end), 1); }
  colour(instrument) {
    const rank = this.programs.indexOf(instrument);
    return `hsl(${HUES[rank % HUES.length]} ${dark.matches ? "55% 62%" : "60% 38%"})`;
  }

  stepAt(event) {
    const x = event.clientX - this.canvas.getBoundingClientRect().left - GUTTER;
    return Math.min(Math.max((x + this.box.scrollLeft) / this.scale, 0), this.end);
  }

  scrolled() {
    for (const other of rolls)
      if (other !== this && other.box.scrollLeft !== this.box.scrollLeft) other.box.scrollLeft = this.box.scrollLeft;
    this.draw();
  }

  layout() {
    const ratio = devicePixelRatio || 1, width = this.box.clientWidth;
    this.sheet.style.width = `${Math.max(GUTTER + this.end * this.scale, width)}px`;
    this.sheet.style.height = this.canvas.style.height = `${this.height}px`;
    this.canvas.style.width = `${width}px`;
    this.canvas.width = width * ratio;
    this.canvas.height = this.height * ratio;
    this.pen = this.canvas.getContext("2d");
    this.pen.scale(ratio, ratio);
    this.draw();
  }

  x(step) { return GUTTER + step * this.scale - this.box.scrollLeft; }

  draw() {
    if (!this.pen) return;
    const pen = this.pen, width = this.box.clientWidth, style = getComputedStyle(document.body);
    const ink = style.getPropertyValue("--ink"), soft = style.getPropertyValue("--soft");
    const line = style.getPropertyValue("--line"), alert = style.getPropertyValue("--alert");
    pen.globalAlpha = 1;
    pen.fillStyle = style.getPropertyValue("--paper");
    pen.fillRect(0, 0, width, this.height);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const floor = this.height - BAR_NUMBERS;
    this.drawBars(pen, width, floor, line, soft);
    pen.fillStyle = line;
    for (let c = Math.ceil(this.low / 12) * 12; this.programs.length && c <= this.high; c += 12)
      pen.fillRect(GUTTER, this.y(c) + this.semitone, width, 1);
    this.drawNotes(pen, width, ink);
    pen.globalAlpha = 1;
    pen.fillStyle = alert;
    for (const [step, bars] of this.music.cuts) {
      const x = this.x(step);
      if (x < GUTTER || x > width) continue;
      pen.fillRect(x, 0, 1.5, floor);
      pen.fillText(`${bars} ${bars === 1 ? "bar" : "bars"} of silence cut`, x + 4, 8);
    }
    if (this.x(this.step) >= GUTTER) pen.fillRect(this.x(this.step), 0, 2, floor);
    this.drawGutter(pen, soft, line, style.getPropertyValue("--paper"));
  }

  drawBars(pen, width, floor, line, soft) {
    const {bars, meters} = this.music;
    const apart = this.end * this.scale / bars.length;
    let every = 1;
    while (every * apart < 44) every *= 2;
    let meter = 0;
    bars.forEach((step, bar) => {
      while (meter + 1 < meters.length && meters[meter + 1][0] <= step) meter += 1;
      const x = this.x(step);
      if (x < GUTTER - 1 || x > width) return;
      if (apart >= 5 || bar % every === 0) { pen.fillStyle = line; pen.fillRect(x, 0, 1, floor + 4); }
      if (bar % every) return;
      const label = meters[meter][0] === step ? `${bar + 1}  ${meters[meter][1]}` : `${bar + 1}`;
      if (x + 3 + pen.measureText(label).width > width) return;
      pen.fillStyle = soft;
      pen.fillText(label, x + 3, floor + 10);
    });
  }

  y(pitch) { return HEAD + (this.high - pitch) * this.semitone; }

  drawNotes(pen, width, ink) {
    const scale = this.scale, first = this.box.scrollLeft / scale, last = first + (width - GUTTER) / scale;
    const height = Math.max(this.semitone - 1, 2), row = new Map(this.drums.map((key, n) => [key, n]));
    let colour = -1;
    for (const [start, duration, instrument, pitch, velocity] of this.music.notes) {
      if (start > last) break; // notes are in order of their starts
      const isDrum = instrument >= PROGRAM_COUNT;
      if (start + (isDrum ? 6 : duration) < first) continue;
      if (colour !== instrument) pen.fillStyle = isDrum ? ink : this.colour(instrument);
      colour = instrument;
      pen.globalAlpha = .4 + .6 * velocity / 127;
      if (!isDrum)
        pen.fillRect(this.x(start), this.y(pitch), Math.max(duration * scale - 1, 1.5), height);
      else if (row.has(instrument))
        pen.fillRect(this.x(start), this.pitchedHeight + row.get(instrument) * DRUM_ROW + 3,
          Math.min(Math.max(3 * scale, 1.5), 6), DRUM_ROW - 6);
    }
  }

  drawGutter(pen, soft, line, paper) {
    pen.fillStyle = paper;
    pen.fillRect(0, 0, GUTTER, this.height);
    pen.fillStyle = line;
    pen.fillRect(GUTTER - 1, 0, 1, this.height - BAR_NUMBERS);
    pen.fillStyle = soft;
    pen.textAlign = "right";
    for (let c = Math.ceil(this.low / 12) * 12; this.programs.length && c <= this.high; c += 12)
      pen.fillText(`C${c / 12 - 1}`, GUTTER - 6, this.y(c) + this.semitone / 2);
    this.drums.forEach((key, n) =>
      pen.fillText(this.music.names[key], GUTTER - 6, this.pitchedHeight + (n + .5) * DRUM_ROW, GUTTER - 10));
    pen.textAlign = "left";
  }

  // Move the cursor; while playing, the page turns before it leaves.
  place(step, isPlaying) {
    this.step = step;
    const x = step * this.scale - this.box.scrollLeft;
    if (isPlaying && follows && (x < 0 || x > .85 * this.room))
      this.box.scrollLeft = step * this.scale - .1 * this.room;
    this.draw();
  }

  legend() {
    const list = element("ul", "", "legend");
    for (const program of this.programs) {
      const item = element("li", this.music.names[program]), sign = document.createElement("i");
      sign.style.background = this.colour(program);
      item.prepend(sign);
      list.append(item);
    }
    return list;
  }
}

function layoutRolls() {
  rolls.forEach((roll) => roll.layout());
}

// Zoom about the cursor where it is in view, else about the middle.
function zoomBy(factor) {
  const [roll] = rolls;
  if (!roll) return;
  const before = roll.scale, {room} = roll, cursor = roll.step * before - roll.box.scrollLeft;
  const x = cursor >= 0 && cursor <= room ? cursor : room / 2;
  const step = (roll.box.scrollLeft + x) / before, whole = room / Math.max(...rolls.map((one) => one.end));
  const wanted = Math.min(before * factor, 12);
  zoom = factor === 0 || wanted <= whole ? 0 : wanted;
  layoutRolls();
  roll.box.scrollLeft = step * roll.scale - x;
}

new ResizeObserver(layoutRolls).observe(document.getElementById("rolls"));
dark.addEventListener("change", () => {
  layoutRolls();
  document.querySelectorAll(".legend").forEach((old, n) => rolls[n] && old.replaceWith(rolls[n].legend()));
});
