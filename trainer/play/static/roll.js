// Draws a song: time to the right, pitch upwards, drums by name in a band of their own.
import {partOf} from "/player.js";

const COLOURS = ["#17707d", "#d1603d", "#6a4c93", "#e0a526", "#3a7d44", "#b23a6b", "#4a78c2", "#8c5a2b",
  "#20a39e", "#c44536", "#9a7fd1", "#7a8b1e", "#2f4b7c", "#e07fa8", "#5fa052", "#a67c52"];
const RULER = 22, DRUM_ROW = 13, GAP = 8, SEMITONE = [2.5, 7], PITCHED_HEIGHT = 190;
const BEAT = [9, 44]; // pixels of a beat
const MOST_PIXELS = 16_000; // of a canvas, so that every browser can draw it

const clamp = (value, [low, high]) => Math.min(Math.max(value, low), high);
export const isDark = matchMedia("(prefers-color-scheme: dark)");

// The colour of the nth part; lighter on a dark page.
export function colour(n) {
  const hex = COLOURS[n % COLOURS.length];
  return isDark.matches ? `color-mix(in oklab, ${hex} 62%, white)` : hex;
}

// The step at which each bar begins, and the one at which the last of them ends.
export function barLines(song, bars, barSteps) {
  const lines = [0];
  song.meters.forEach(([start, numerator, denominator], n) => {
    const length = barSteps[`${numerator}/${denominator}`];
    const next = song.meters[n + 1]?.[0] ?? Infinity;
    if (start > lines.at(-1)) lines.push(start); // a change begins a new bar
    while (lines.length <= bars && lines.at(-1) < next) lines.push(Math.min(lines.at(-1) + length, next));
  });
  return lines;
}

// The parts of a song, that with the most notes first, the drums last.
export function partsOf(song) {
  const counts = new Map();
  for (const note of song.notes) counts.set(partOf(note), (counts.get(partOf(note)) ?? 0) + 1);
  const melodic = [...counts.keys()].filter((part) => part !== "drums");
  melodic.sort((a, b) => counts.get(b) - counts.get(a) || a - b);
  return counts.has("drums") ? [...melodic, "drums"] : melodic;
}

export class Roll {
  // sheet: the canvas of the notes, in something that scrolls; labels: the one that stays.
  constructor(sheet, labels, about) {
    this.sheet = sheet, this.labels = labels, this.about = about;
  }

  // Draw a song; `look` has the width to fill, the bars to make room for, the parts in the order of
  // their colours, those muted, the selected bars [first, last] from 0, and the bars that were given.
  draw(song, look) {
    this.lines = barLines(song, Math.max(look.bars, song.bars), this.about.bar_steps);
    const beats = this.lines.at(-1) / this.about.steps_per_beat;
    const ratio = Math.min(devicePixelRatio, MOST_PIXELS / look.width);
    this.scale = Math.min(clamp(look.width / beats, BEAT), MOST_PIXELS / ratio / beats)
      / this.about.steps_per_beat;
    this.place(song);
    const width = Math.max(this.lines.at(-1) * this.scale, 1);
    const pen = this.pen(this.sheet, width, this.height, ratio);
    const style = getComputedStyle(document.documentElement);
    this.ink = Object.fromEntries(["ink", "soft", "line", "wash", "accent", "paper"].map((name) =>
      [name, style.getPropertyValue("--" + name).trim()]));
    this.drawGrid(pen, song, look, width);
    this.drawNotes(pen, song, look);
    this.drawLabels(ratio);
  }

  // Where pitches and drums lie.
  place(song) {
    const pitched = song.notes.filter((note) => note[2] < 128).map((note) => note[3]);
    this.keys = [...new Set(song.notes.filter((note) => note[2] >= 128).map((note) => note[2]))].sort((a, b) => a - b);
    this.low = pitched.length ? pitched.reduce((a, b) => Math.min(a, b)) - 2 : 0;
    this.high = pitched.length ? Math.max(pitched.reduce((a, b) => Math.max(a, b)) + 2, this.low + 24) : 0;
    this.semitone = clamp(PITCHED_HEIGHT / (this.high - this.low || 1), SEMITONE);
    this.drumsTop = RULER + (this.high - this.low) * this.semitone + (pitched.length ? GAP : 0);
    this.height = this.drumsTop + this.keys.length * DRUM_ROW + 4;
  }

  pen(canvas, width, height, ratio) {
    canvas.width = Math.round(width * ratio), canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`, canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    return pen;
  }

  y(pitch) { return RULER + (this.high - pitch - 1) * this.semitone; }

  drumY(key) { return this.drumsTop + (this.keys.length - 1 - this.keys.indexOf(key)) * DRUM_ROW; }

  drawGrid(pen, song, look, width) {
    const {ink, lines, scale} = this, every = [1, 2, 4, 8, 16, 32].find((n) => n * scale * lines[1] > 30) ?? 64;
    pen.fillStyle = ink.wash;
    pen.fillRect(0, 0, width, RULER);
    if (song.until < lines.at(-1)) pen.fillRect(song.until * scale, 0, width, this.height);
    if (look.selection) {
      const [first, last] = look.selection, left = lines[first] * scale;
      pen.fillStyle = `color-mix(in oklab, ${ink.accent} 22%, ${ink.paper})`;
      pen.fillRect(left, 0, lines[last + 1] * scale - left, this.height);
    }
    pen.fillStyle = ink.line;
    for (const line of lines.slice(1)) pen.fillRect(Math.round(line * scale), RULER, 1, this.height);
    for (let pitch = Math.ceil(this.low / 12) * 12; pitch < this.high; pitch += 12)
      pen.fillRect(0, this.y(pitch - 1), width, 1);
    for (const key of this.keys) pen.fillRect(0, this.drumY(key) + DRUM_ROW - 1, width, 1);
    pen.fillStyle = ink.soft;
    lines.slice(0, -1).forEach((line, bar) => {
      if (bar % every === 0) pen.fillText(bar + 1, line * scale + 3, RULER / 2 + 1);
    });
    if (look.given && lines[look.given]) {
      pen.strokeStyle = ink.accent;
      pen.setLineDash([4, 3]);
      pen.strokeRect(lines[look.given] * scale, 0, 0, this.height);
      pen.setLineDash([]);
    }
  }

  drawNotes(pen, song, look) {
    const {scale, semitone} = this, colours = new Map(look.parts.map((part, n) => [part, colour(n)]));
    for (const part of look.parts) {
      const faint = look.muted.has(part) ? 0.15 : 1;
      pen.fillStyle = part === "drums" ? this.ink.ink : colours.get(part);
      for (const note of song.notes) {
        if (partOf(note) !== part) continue;
        const [start, duration, instrument, pitch, velocity] = note, left = start * scale;
        pen.globalAlpha = faint * (0.35 + 0.65 * velocity / 127);
        if (part === "drums") pen.fillRect(left, this.drumY(instrument) + 2, 3, DRUM_ROW - 5);
        else pen.fillRect(left, this.y(pitch), Math.max(duration * scale - 1, 1.5), Math.max(semitone - 0.5, 2));
      }
    }
    pen.globalAlpha = 1;
  }

  drawLabels(ratio) {
    const width = this.labels.parentElement.clientWidth, pen = this.pen(this.labels, width, this.height, ratio);
    pen.fillStyle = this.ink.soft;
    pen.textAlign = "right";
    for (let pitch = Math.ceil(this.low / 12) * 12; pitch < this.high; pitch += 12)
      pen.fillText(`C${pitch / 12 - 1}`, width - 6, this.y(pitch) + this.semitone / 2);
    for (const key of this.keys)
      pen.fillText(this.about.instruments[key], width - 6, this.drumY(key) + DRUM_ROW / 2, width - 8);
  }

  // The step and the bar at a place of the sheet, in pixels from its left edge.
  stepAt(x) { return Math.min(Math.max(x / this.scale, 0), this.lines.at(-1)); }

  barAt(x) { return Math.max(this.lines.findLastIndex((line) => line <= this.stepAt(x)), 0); }

  isRuler(y) { return y < RULER; }
}
