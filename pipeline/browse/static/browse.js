// The page of `pipeline browse`: a table that the server filters, sorts and pages, and one song at
// a time with its piano roll and a player. Values are only ever inserted as text.
"use strict";

// The server's policy allows no string as markup but through this: whatever a library writes as
// markup, by a way that we know or not, adds no element.
globalThis.trustedTypes?.createPolicy("default", {createHTML: (text) => text.replaceAll("<", "&lt;")});

const FIRST_SHOWN = ["song", "path", "split", "representative", "seconds", "bars", "bpm", "meter",
  "instruments", "notes", "tokens"];
const WAIT = 250; // milliseconds after the last key, before asking the server
const at = (id) => document.getElementById(id);
let table, synth, opened, dataset, openCount = 0;

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
function addressOf(url, config, params) {
  const query = new URLSearchParams({page: params.page || 1, size: params.size || 50});
  const [order] = params.sort || [];
  if (order) query.set("sort", order.field), query.set("order", order.dir);
  for (const filter of params.filter || []) query.set("f." + filter.field, filter.value);
  if (at("search").value) query.set("q", at("search").value);
  return url + "?" + query;
}

async function songs(url, config, params) {
  try {
    const found = await (await ask(of(addressOf(url, config, params)))).json();
    at("found").textContent = found.last_row.toLocaleString("en") +
      (found.last_row === 1 ? " song" : " songs");
    showError();
    return found;
  } catch (error) {
    showError(error);
    return {data: [], last_page: 1, last_row: 0};
  }
}

function columnOf({name, kind}) {
  const text = (cell) => element("span", cell.getValue());
  return {
    field: name, title: name.replaceAll("_", " "), titleFormatter: text, visible: FIRST_SHOWN.includes(name),
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
      {type: "checkbox", checked: FIRST_SHOWN.includes(name), value: name});
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
  table = new Tabulator("#table", {
    ajaxURL: "/api/songs", ajaxRequestFunc: songs,
    pagination: true, paginationMode: "remote", paginationSize: 20, paginationCounter: "rows",
    paginationSizeSelector: [20, 50, 100, 200],
    sortMode: "remote", filterMode: "remote", headerFilterLiveFilterDelay: WAIT,
    layout: "fitColumns", columns: about.columns.map(columnOf), placeholder: "No song",
    index: "song", headerSortElement: () => element("div", "", "tabulator-arrow"),
  });
  table.on("rowClick", (event, row) => open(row.getData().song).catch(showError));
  let waiting;
  at("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => table.setPage(1), WAIT);
  });
}

async function open(number) {
  const mine = ++openCount;
  stop();
  at("song").hidden = false;
  document.querySelectorAll(".tabulator-row.open").forEach((row) => row.classList.remove("open"));
  const row = table.getRow(number);
  if (row) row.getElement().classList.add("open");
  const song = await (await ask(of(`/api/song/${number}`))).json();
  if (mine !== openCount) return; // another was opened meanwhile
  opened = {number, ...song};
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

at("play").addEventListener("click", () =>
  ("playing" in at("play").dataset ? stop() : play().catch(showError)));
at("roll").addEventListener("click", (event) => seek(event).catch(showError));
start().catch(showError);
