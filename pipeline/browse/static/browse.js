// The page of `pipeline browse`: a table that the server filters, sorts and pages, and one song at
// a time with its piano roll and a player. Values are only ever inserted as text. The part of the
// address after # says what is shown, in the server's words: #song=3&q=ballad&sort=notes&f.bpm=>=100
"use strict";

// The server's policy allows no string as markup but through this: whatever a library writes as
// markup, by a way that we know or not, adds no element.
globalThis.trustedTypes?.createPolicy("default", {createHTML: (text) => text.replaceAll("<", "&lt;")});

const FIRST_SHOWN = ["song", "path", "split", "representative", "seconds", "bars", "bpm", "meter",
  "instruments", "notes", "tokens"];
const WAIT = 250; // milliseconds after the last key, before asking the server
const at = (id) => document.getElementById(id);
const wanted = new URLSearchParams(location.hash.slice(1));
let table, synth, opened, dataset, openCount = 0, listCount = 0, listed = "";

function element(tag, text, className = "") {
  return Object.assign(document.createElement(tag), {textContent: text ?? "", className});
}

// The dataset that this page is of goes with every address, so that the server can refuse another's.
function of(address) {
  return address + (address.includes("?") ? "&" : "?") + "dataset=" + dataset;
}

async function ask(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

function showError(error) {
  at("problem").textContent = error ? error.message : "";
  at("problem").hidden = !error;
}

// Tabulator's parameters under the names that the server uses.
function queryOf(params) {
  const query = new URLSearchParams();
  const [order] = params.sort || [];
  if (order) query.set("sort", order.field), query.set("order", order.dir);
  for (const filter of params.filter || []) query.set("f." + filter.field, filter.value);
  if (at("search").value) query.set("q", at("search").value);
  return query.toString();
}

function hash() {
  return [opened && `song=${opened.number}`, listed].filter(Boolean).join("&");
}

// Another song is a step of the browser's history; another list, while somebody types, is not.
function remember(isStep) {
  if (location.hash.slice(1) !== hash())
    history[isStep ? "pushState" : "replaceState"](null, "", "#" + hash());
}

// Back, forward, or an address typed in.
function goTo() {
  const now = new URLSearchParams(location.hash.slice(1)), number = now.get("song");
  now.delete("song");
  if (now.toString() !== listed || !number) location.reload();
  else open(number).catch(showError);
}

async function songs(url, config, params) {
  const mine = ++listCount; // the table drops the answer to an older question; so must the rest
  try {
    const query = queryOf(params), size = params.size || 50;
    const found = await (await ask(of(`${url}?page=${params.page || 1}&size=${size}&${query}`))).json();
    if (mine !== listCount) return found;
    listed = query;
    if (!wanted.has("song")) remember(false);
    at("found").textContent = found.last_row.toLocaleString("en") +
      (found.last_row === 1 ? " song" : " songs");
    showError();
    return found;
  } catch (error) {
    if (mine === listCount) showError(error);
    return {data: [], last_page: 1, last_row: 0};
  }
}

function isShown(name) {
  return FIRST_SHOWN.includes(name) || wanted.has("f." + name) || wanted.get("sort") === name;
}

function columnOf({name, kind}) {
  const text = (cell) => element("span", cell.getValue());
  return {
    field: name, title: name.replaceAll("_", " "), titleFormatter: text, visible: isShown(name),
    headerFilter: "input", headerFilterLiveFilter: true,
    headerFilterPlaceholder: {number: ">=", boolean: "yes", text: ""}[kind],
    hozAlign: kind === "number" ? "right" : "left", headerHozAlign: kind === "number" ? "right" : "left",
    formatter: kind === "boolean" ? (cell) => (cell.getValue() ? "yes" : "no") : text,
    minWidth: name === "path" ? 180 : 44 + 8 * name.length, widthGrow: name === "path" ? 4 : 1,
    tooltip: name === "path" && ((event, cell) => text(cell)),
  };
}

function chooser(columns) {
  for (const {name} of columns) {
    const box = Object.assign(document.createElement("input"),
      {type: "checkbox", checked: isShown(name), value: name});
    box.addEventListener("change", () =>
      box.checked ? table.showColumn(name) : table.hideColumn(name));
    const label = document.createElement("label");
    label.append(box, " " + name.replaceAll("_", " "));
    at("columns").append(label);
  }
}

async function start() {
  const about = await (await ask("/api/about")).json();
  dataset = about.dataset;
  at("name").textContent = document.title = about.name;
  chooser(about.columns);
  at("search").value = wanted.get("q") || "";
  const names = about.columns.map((column) => column.name), sort = wanted.get("sort");
  table = new Tabulator("#table", {
    ajaxURL: "/api/songs", ajaxRequestFunc: songs,
    pagination: true, paginationMode: "remote", paginationSize: 20, paginationCounter: "rows",
    paginationSizeSelector: [20, 50, 100, 200],
    sortMode: "remote", filterMode: "remote", headerFilterLiveFilterDelay: WAIT,
    layout: "fitColumns", columns: about.columns.map(columnOf), placeholder: "No song",
    initialHeaderFilter: names.filter((name) => wanted.has("f." + name))
      .map((field) => ({field, value: wanted.get("f." + field)})),
    initialSort: names.includes(sort) ? [{column: sort, dir: wanted.get("order") || "asc"}] : [],
    index: "song", rowFormatter: mark, headerSortElement: () => element("div", "", "tabulator-arrow"),
  });
  table.on("rowClick", (event, row) => open(row.getData().song).catch(showError));
  table.on("tableBuilt", () => {
    const number = wanted.get("song");
    wanted.delete("song");
    if (number) open(number).catch(showError);
  });
  addEventListener("popstate", goTo);
  addEventListener("keydown", press);
  let waiting;
  at("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => table.setPage(1), WAIT);
  });
}

function mark(row) {
  row.getElement().tabIndex = -1; // the arrow keys move the focus
  row.getElement().classList.toggle("open", row.getData().song === opened?.number);
}

async function open(number) {
  const mine = ++openCount;
  stop();
  const song = await (await ask(of(`/api/song/${number}`))).json();
  if (mine !== openCount) return; // another was opened meanwhile
  opened = {number: Number(number), ...song};
  at("song").hidden = false;
  table.getRows("active").forEach(mark);
  remember(true);
  at("title").textContent = song.facts.path;
  at("picture").src = of(`/api/song/${number}.png`);
  at("download").href = of(`/api/song/${number}.mid`);
  at("facts").replaceChildren(...Object.entries(song.facts).flatMap(([name, value]) =>
    [element("dt", name.replaceAll("_", " ")), element("dd", value)]));
  place(0);
  at("song").scrollIntoView({block: "nearest", behavior: "smooth"});
}

// The player. Ticks of the .mid are steps of the song, so playing time maps linearly to the picture.
async function load() {
  synth ??= new WebAudioTinySynth({quality: 1});
  await synth.getAudioContext().resume();
  if (synth.number === opened.number) return;
  const midi = await (await ask(of(`/api/song/${opened.number}.mid`))).arrayBuffer();
  synth.loadMIDI(midi);
  synth.number = opened.number;
}

async function play() {
  await load();
  synth.playMIDI();
  at("play").textContent = "Pause";
  at("play").dataset.playing = "";
  follow();
}

function stop() {
  if (synth) synth.stopMIDI();
  at("play").textContent = "Play";
  delete at("play").dataset.playing;
}

function follow() {
  const {play: playing, curTick, maxTick} = synth.getPlayStatus();
  place(maxTick ? curTick / maxTick : 0);
  if (!playing) return stop();
  requestAnimationFrame(follow);
}

function place(part) {
  const {left, width} = opened.roll, seconds = Math.floor(part * opened.seconds);
  at("cursor").style.left = `${100 * (left + width * part)}%`;
  at("time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

async function seek(event) {
  const box = at("picture").getBoundingClientRect(), {left, width} = opened.roll;
  const part = Math.min(Math.max(((event.clientX - box.left) / box.width - left) / width, 0), 1);
  await load();
  synth.locateMIDI(Math.floor(part * synth.getPlayStatus().maxTick));
  place(part);
}

function toggle() {
  return "playing" in at("play").dataset ? stop() : play().catch(showError);
}

// Arrows choose a row, Enter opens it, space plays, / searches, Escape leaves a field.
function press(event) {
  const here = document.activeElement, isField = here.matches("input, select, button, summary, a");
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape") return here.blur();
  if (isField) return;
  const rows = [...document.querySelectorAll(".tabulator-row")], focused = rows.indexOf(here);
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  const act = step ? () => rows[Math.min(Math.max(focused + step, 0), rows.length - 1)]?.focus()
    : {"/": () => at("search").focus(), Enter: () => here.click(), " ": () => opened && toggle()}[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

at("play").addEventListener("click", toggle);
at("roll").addEventListener("click", (event) => seek(event).catch(showError));
start().catch(showError);
