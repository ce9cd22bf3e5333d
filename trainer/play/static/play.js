// The page of `trainer play`: orders music from the server, shows and plays it while it is written,
// and keeps the versions of each take. Values are only ever inserted as text.
//
// A song is what the server's lines say: id, notes [start, duration, instrument, pitch, velocity],
// meters, tempos, finished bars, the step `until` which it is written, and whether it is done. A take
// is a list of songs, each written from the one before.
import {LACKS_REARRANGING, element, fillForm, nameOf, settings} from "/form.js";
import {Player, secondsAt} from "/player.js";
import {Roll, colour, isDark, partsOf} from "/roll.js";

const LONGEST_STOP = 2000; // milliseconds
const at = (id) => document.getElementById(id);
const page = Array.from(crypto.getRandomValues(new Uint32Array(2)), (n) => n.toString(16)).join("");
let about, player, current, writing, made = 0;
const takes = [];

function showError(error) {
  if (error?.name === "AbortError") return;
  at("problem").textContent = error ? error.message : "";
  at("problem").hidden = !error;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

// --- takes

class Take {
  constructor(title, chosen) {
    this.number = ++made, this.chosen = chosen, this.versions = [], this.muted = new Set();
    this.selection = null, this.step = 0;
    this.box = at("take").content.firstElementChild.cloneNode(true);
    this.find("h2").textContent = title ?? `Take ${this.number}`;
    const [labels, sheet] = this.box.querySelectorAll("canvas");
    this.roll = new Roll(sheet, labels, about);
    const act = {play: () => toggle(this), continue: () => go(this), rewrite: () => rewrite(this),
      from: () => go(this, this.selection[0]), anew: () => accompany(this), undo: () => this.undo(),
      remove: () => this.remove()};
    for (const [name, call] of Object.entries(act))
      this.find("." + name).addEventListener("click", () => Promise.resolve(call()).catch(showError));
    this.box.addEventListener("pointerdown", () => choose(this));
    this.find(".scroll").addEventListener("pointerdown", (event) => this.press(event));
    at("takes").append(this.box);
    takes.push(this);
    at("empty").hidden = true;
  }

  find(selector) { return this.box.querySelector(selector); }

  get song() { return this.versions.at(-1); }

  get isWriting() { return writing?.takes.has(this) ?? false; }

  // Take over a line of the server: into the newest version, or as the first of another one.
  receive(line, given, expected) {
    if (this.song?.id !== line.id) {
      this.versions.push({id: line.id, notes: [], given, expected});
      this.selection = null;
    }
    const kept = this.song.notes.filter((note) => note[0] < line.since);
    Object.assign(this.song, line, {notes: kept.concat(line.notes)});
    this.show();
  }

  // What has been written until somebody stopped it is a song, too, up to its last note's bar.
  finish() {
    const {song} = this;
    if (!song || song.done) return;
    song.bars = this.roll.lines.findLastIndex((line) => line <= song.notes.at(-1)[0]) + 1;
    Object.assign(song, {until: this.roll.lines[song.bars], done: true});
  }

  show() {
    const {song} = this;
    if (!song) return;
    const parts = partsOf(song), width = this.find(".scroll").clientWidth;
    this.colours ??= [];
    for (const part of parts) if (!this.colours.includes(part)) this.colours.push(part);
    const bars = song.done || !this.isWriting ? song.bars : song.expected;
    this.roll.draw(song, {width, bars, parts: this.colours, muted: this.muted, selection: this.selection, given: song.given});
    this.find(".facts").textContent = [count(song.bars, "bar"),
      clock(secondsAt(song, song.until, about.steps_per_beat)), count(parts.length, "part")].join(" · ");
    this.showParts(parts);
    this.showTools(parts);
    this.place();
  }

  // A button stays the same while bars are added, so that a click or the focus on it is not lost.
  showParts(parts) {
    const shown = [...this.find(".parts").children];
    shown.filter((button) => !parts.some((part) => button.dataset.part === `${part}`)).forEach((button) => button.remove());
    for (const part of parts) {
      const button = shown.find((each) => each.dataset.part === `${part}`) ?? this.partButton(part);
      if (!button.isConnected) this.find(".parts").append(button);
      button.setAttribute("aria-pressed", this.muted.has(part));
      button.firstChild.style.background = part === "drums" ? "var(--ink)" : colour(this.colours.indexOf(part));
    }
  }

  partButton(part) {
    const button = element("button", nameOf(part), {type: "button"});
    button.prepend(document.createElement("i"));
    button.dataset.part = part;
    button.addEventListener("click", () => this.mute(part));
    return button;
  }

  mute(part) {
    if (!this.muted.delete(part)) this.muted.add(part);
    this.show();
  }

  showTools(parts) {
    const {selection, song} = this, busy = Boolean(writing), muted = parts.filter((part) => this.muted.has(part));
    const names = muted.map(nameOf).join(", ");
    const bars = selection && (selection[0] === selection[1] ? `bar ${selection[0] + 1}`
      : `bars ${selection[0] + 1}–${selection[1] + 1}`);
    const show = (name, text, hidden, lacking = false) => {
      const button = this.find("." + name);
      button.textContent = text, button.hidden = hidden, button.disabled = busy || lacking;
      button.title = lacking ? LACKS_REARRANGING : "";
    };
    show("continue", "Continue", false);
    show("rewrite", muted.length ? `Rewrite ${names} in ${bars}` : `Rewrite ${bars}`, !selection, !about.rearranged);
    show("from", `Write on from bar ${selection?.[0] + 1}`, !selection?.[0]);
    show("anew", `Write ${names} anew`, Boolean(selection) || !muted.length || muted.length === parts.length, !about.rearranged);
    show("undo", "Undo", this.versions.length < 2);
    for (const kind of ["mid", "wav"]) {
      const link = this.find("." + kind);
      link.href = `/api/take/${song.id}.${kind}`;
      link.download = `take-${this.number}.${kind}`;
      link.hidden = kind === "wav" && Boolean(about.wav_fault);
    }
    this.box.classList.toggle("writing", this.isWriting);
  }

  place() {
    const plays = player.song === this.song && player.playing;
    if (plays) this.step = player.step;
    this.find(".play").textContent = plays ? "Pause" : "Play";
    this.find(".time").textContent = clock(secondsAt(this.song, this.step, about.steps_per_beat));
    const x = this.step * this.roll.scale, scroll = this.find(".scroll");
    this.find(".cursor").style.transform = `translateX(${x}px)`;
    if (plays && (x < scroll.scrollLeft || x > scroll.scrollLeft + scroll.clientWidth - 24))
      scroll.scrollLeft = x - 60;
  }

  seek(step) {
    this.step = step;
    if (player.song === this.song && player.playing) return player.play(this.song, step, this.muted);
    this.place();
  }

  // A press on the bar numbers selects bars, on the notes moves to there.
  press(event) {
    const sheet = this.find(".sheet").getBoundingClientRect();
    const x = (moved) => moved.clientX - sheet.left;
    const isTouch = event.pointerType === "touch"; // a finger that drags scrolls: it taps both ends
    if (!this.roll.isRuler(event.clientY - sheet.top)) {
      if (isTouch) this.select(null);
      return this.seek(this.roll.stepAt(x(event)));
    }
    event.preventDefault();
    const first = (isTouch ? this.selection?.[0] : undefined) ?? this.roll.barAt(x(event)), scroll = this.find(".scroll");
    const move = (moved) => this.select(first, this.roll.barAt(x(moved)));
    scroll.setPointerCapture(event.pointerId);
    scroll.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"])
      scroll.addEventListener(end, () => scroll.removeEventListener("pointermove", move), {once: true});
    move(event);
  }

  select(one, other) {
    const most = this.song.bars - 1;
    this.selection = one === null ? null : [Math.min(one, other, most), Math.min(Math.max(one, other), most)];
    this.show();
  }

  undo() {
    if (this.versions.length < 2 || this.isWriting) return;
    if (player.song === this.song) player.pause();
    this.versions.pop();
    this.selection = null;
    this.step = Math.min(this.step, this.song.until);
    this.show();
  }

  async remove() {
    if (this.isWriting) await stop();
    if (player.song === this.song) player.pause();
    takes.splice(takes.indexOf(this), 1);
    this.box.remove();
    at("empty").hidden = takes.length > 0;
    if (current === this) choose(takes.at(-1));
  }
}

function choose(take) {
  current?.box.classList.remove("current");
  current = take;
  current?.box.classList.add("current");
}

// --- writing

async function* linesOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

const send = (address, body, signal) => fetch(address, {method: "POST", signal,
  body: JSON.stringify({page, ...body}), headers: {"Content-Type": "application/json"}});

// Let the server end what it writes, and take over its last lines.
async function stop() {
  const old = writing;
  if (!old) return;
  setTimeout(() => old.control.abort(), LONGEST_STOP);
  await send("/api/stop");
  await old.ended;
}

// Send an order and take over what comes; `into` is the take it changes, or null for new ones.
async function order(body, into, given, expected) {
  await stop();
  let end;
  const mine = writing = {control: new AbortController(), takes: new Set(into ? [into] : []),
    ended: new Promise((resolve) => end = resolve)}, made = [];
  const {count, ...chosen} = body;
  showError();
  showWriting();
  try {
    const answer = await send("/api/write", body, mine.control.signal);
    if (!answer.ok) throw new Error(await answer.text());
    for await (const line of linesOf(answer)) {
      if (line.error) throw new Error(line.error);
      const isFirst = !made.length, take = made[line.number] ??= into ?? new Take(null, chosen);
      mine.takes.add(take);
      take.receive(line, given, expected);
      if (isFirst) listen(take, given);
    }
  } catch (error) {
    showError(error);
  } finally {
    for (const take of mine.takes) take.finish();
    if (writing === mine) writing = null;
    showWriting();
    end();
  }
}

function listen(take, given) {
  choose(take);
  const from = given ? take.roll.lines[Math.max(given - 1, 0)] : 0;
  take.step = from;
  take.box.scrollIntoView({block: "nearest", behavior: "smooth"});
  player.play(take.song, from, take.muted).catch(showError);
}

function showWriting() {
  at("write").hidden = Boolean(writing);
  at("stop").hidden = !writing;
  for (const take of takes) take.show();
}

function write() {
  if (!at("order").reportValidity()) return;
  const chosen = settings();
  return order({...chosen, count: Number(at("count").value)}, null, 0, chosen.bars);
}

// What was asked of a take holds for what is added to it, too; but how it is drawn is the form's.
function kept(take) {
  const {seed, temperature, guidance, bars} = settings();
  return {...take.chosen, seed, temperature, guidance, bars, count: 1, take: take.song.id};
}

// Of what is written to the rest of a take, the rest says how long it is, and its parts are named.
function keptOfRest(take) {
  const {bars, instruments, ending, ...body} = kept(take);
  return body;
}

// Continue a take, after all of it or before a bar.
function go(take, bar = take.song.bars) {
  if (writing || !bar) return;
  const body = kept(take);
  return order({...body, keep_bars: bar}, take, bar, bar + body.bars);
}

function rewrite(take) {
  if (writing || !take.selection || !about.rearranged) return;
  const [first, last] = take.selection, body = keptOfRest(take), expected = take.song.bars;
  const muted = partsOf(take.song).filter((part) => take.muted.has(part));
  body.infill = `${first + 1}-${last + 1}`;
  if (muted.length) body.parts = muted.join(",");
  take.muted.clear();
  return order(body, take, first, expected);
}

function accompany(take) {
  const muted = partsOf(take.song).filter((part) => take.muted.has(part));
  if (writing || !muted.length || !about.rearranged) return;
  const body = {...keptOfRest(take), accompany: muted.join(",")};
  take.muted.clear();
  return order(body, take, 0, take.song.bars);
}

async function openFile(file) {
  if (!file) return;
  at("file").value = "";
  showError();
  if (file.size > about.most.midi) throw new Error(`${file.name} is too large for a MIDI file`);
  const answer = await fetch("/api/open", {method: "POST", body: file.slice(0, file.size, "audio/midi")});
  if (!answer.ok) throw new Error(await answer.text());
  const line = await answer.json(), take = new Take(file.name, {});
  take.receive(line, 0, line.bars);
  choose(take);
  take.box.scrollIntoView({block: "nearest"});
}

// --- playing and keys

function toggle(take) {
  if (!take?.song) return;
  choose(take);
  if (player.song === take.song && player.playing) return player.pause();
  return player.play(take.song, take.step < take.song.until ? take.step : 0, take.muted);
}

function moved() {
  const take = takes.find((each) => each.song === player.song);
  if (!take) return;
  if (!player.playing) take.step = player.at;
  take.place();
  at("state").textContent = player.waiting ? "Waiting for the next bars …" : "";
}

function step(take, by, selects) {
  if (!take?.song) return;
  const {lines} = take.roll, bar = take.roll.barAt(take.step * take.roll.scale + 0.01);
  const target = Math.min(Math.max(bar + by, 0), take.song.bars - 1);
  if (selects) {
    const [first, last] = take.selection ?? [bar, bar - by];
    take.select(take.selection ? first : bar, take.selection ? Math.max(last + by, 0) : bar);
    return;
  }
  return take.seek(lines[target]);
}

function press(event) {
  const here = document.activeElement;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape") {
    if (writing) return stop().catch(showError);
    here.blur();
    return current?.selection && current.select(null);
  }
  if (here.matches("input, select, summary, a, .file") || (here.matches("button") && " Enter".includes(event.key))) return;
  const neighbour = (by) => takes[Math.min(Math.max(takes.indexOf(current) + by, 0), takes.length - 1)];
  const look = (take) => (choose(take), take?.box.scrollIntoView({block: "nearest"}));
  const act = {" ": () => toggle(current), ArrowLeft: () => step(current, -1, event.shiftKey),
    ArrowRight: () => step(current, 1, event.shiftKey), ArrowUp: () => look(neighbour(-1)),
    ArrowDown: () => look(neighbour(1)), w: write, c: () => current?.song && go(current),
    r: () => current && rewrite(current), u: () => current?.undo()}[event.key.length > 1 ? event.key : event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  Promise.resolve(act()).catch(showError);
}

async function start() {
  const answer = await fetch("/api/about");
  if (!answer.ok) throw new Error(await answer.text());
  about = await answer.json();
  at("name").textContent = document.title = about.name;
  player = new Player(about.soundfont, about.steps_per_beat, moved);
  fillForm(about);
  at("order").addEventListener("submit", (event) => {
    event.preventDefault();
    write();
  });
  at("stop").addEventListener("click", () => stop().catch(showError));
  at("file").addEventListener("change", () => openFile(at("file").files[0]).catch(showError));
  addEventListener("keydown", press);
  const redraw = () => takes.forEach((take) => take.show());
  addEventListener("resize", redraw);
  isDark.addEventListener("change", redraw);
  document.documentElement.dataset.ready = "";
}

start().catch(showError);
