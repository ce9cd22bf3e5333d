// The page of `pipeline browse`: a table that the server filters, sorts and pages, and one song at
// a time with its piano roll and a player. Values are only ever inserted as text. The part of the
// address after # says what is shown, in the server's words: #song=3&q=ballad&sort=notes&f.bpm=>=100
// of the songs, #of=files&file=3 of the files that were not kept.
"use strict";

// The server's policy allows no string as markup but through this: whatever a library writes as
// markup, by a way that we know or not, adds no element.
globalThis.trustedTypes?.createPolicy("default", {createHTML: (text) => text.replaceAll("<", "&lt;")});

const FIRST_SHOWN = ["song", "path", "split", "seconds", "bars", "bpm", "meter", "instruments", "notes",
  "row", "outcome", "rule", "value", "threshold", "detail"];
const WIDE = {path: 260, rule: 190, detail: 260}; // pixels of what has long values
const WAIT = 250; // milliseconds after the last key, before asking the server
const wanted = new URLSearchParams(location.hash.slice(1));
const shown = wanted.get("of") === "files" ? "files" : "songs"; // which table
const one = shown === "files" ? "file" : "song", numbered = shown === "files" ? "row" : "song";
let table, dataset, openCount = 0, listCount = 0, listed = "";

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
  const of = shown === "files" && "of=files";
  return [of, opened && `${one}=${opened.number}`, listed].filter(Boolean).join("&");
}

// Another song is a step of the browser's history; another list, while somebody types, is not.
function remember(isStep) {
  if (location.hash.slice(1) !== hash())
    history[isStep ? "pushState" : "replaceState"](null, "", "#" + hash());
}

// Back, forward, or an address typed in.
function goTo() {
  const now = new URLSearchParams(location.hash.slice(1)), number = now.get(one);
  const isOther = (now.get("of") || "songs") !== shown;
  now.delete(one);
  now.delete("of");
  if (isOther || now.toString() !== listed || !number) location.reload();
  else open(number).catch(showError);
}

async function songs(url, config, params) {
  const mine = ++listCount; // the table drops the answer to an older question; so must the rest
  try {
    const query = queryOf(params), size = params.size || 50;
    const found = await (await ask(of(`${url}?page=${params.page || 1}&size=${size}&${query}`))).json();
    if (mine !== listCount) return found;
    listed = query;
    if (!wanted.has(one)) remember(false);
    at("found").textContent = `${found.last_row.toLocaleString("en")} ${one}${found.last_row === 1 ? "" : "s"}`;
    at("fit").hidden = !found.fit;
    at("fit").querySelector("code").textContent = found.fit;
    refreshColumn();
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
  const title = (cell) => {
    const ask = element("button", "?", "ask"), head = element("span", cell.getValue());
    ask.type = "button";
    ask.setAttribute("aria-label", `About ${cell.getValue()}`);
    ask.addEventListener("click", (event) => {
      event.stopPropagation(); // a click on the name sorts
      at("column").dataset.name === name ? hideColumn() : showColumn(name).catch(showError);
    });
    head.append(ask);
    return head;
  };
  return {
    field: name, title: name.replaceAll("_", " "), titleFormatter: title, visible: isShown(name),
    headerFilter: "input", headerFilterLiveFilter: true,
    headerFilterPlaceholder: {number: ">=", map: ">=", boolean: "yes"}[kind] || "",
    hozAlign: kind === "number" ? "right" : "left", headerHozAlign: kind === "number" ? "right" : "left",
    formatter: kind === "boolean" ? (cell) => (cell.getValue() ? "yes" : "no") : text,
    minWidth: Math.max(WIDE[name] || 0, 72 + 8.5 * name.length), widthGrow: name in WIDE ? 4 : 1,
    tooltip: kind === "text" && ((event, cell) => text(cell)),
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
  for (const name of ["songs", "files"]) {
    at(name).append(element("small", ` ${about[name].toLocaleString("en")}`));
    if (name === shown) at(name).setAttribute("aria-current", "true");
  }
  offerSounds(about.soundfont);
  const columns = await (await ask(of(`/api/${shown}/columns`))).json();
  chooser(columns);
  at("search").value = wanted.get("q") || "";
  const names = columns.map((column) => column.name), sort = wanted.get("sort");
  table = new Tabulator("#table", {
    ajaxURL: `/api/${shown}`, ajaxRequestFunc: songs,
    pagination: true, paginationElement: at("pages"), paginationMode: "remote", paginationSize: 20,
    paginationSizeSelector: [20, 50, 100, 200],
    sortMode: "remote", filterMode: "remote", headerFilterLiveFilterDelay: WAIT,
    layout: "fitColumns", columns: columns.map(columnOf), placeholder: "Nothing passes",
    initialHeaderFilter: names.filter((name) => wanted.has("f." + name))
      .map((field) => ({field, value: wanted.get("f." + field)})),
    initialSort: names.includes(sort) ? [{column: sort, dir: wanted.get("order") || "asc"}] : [],
    index: numbered, rowFormatter: mark, headerSortElement: () => element("div", "", "tabulator-arrow"),
  });
  for (const event of ["scrollHorizontal", "renderComplete", "columnResized", "columnVisibilityChanged"]) table.on(event, markHidden);
  table.on("rowClick", (event, row) => open(row.getData()[numbered]).catch(showError));
  table.on("tableBuilt", () => {
    nameParts();
    const number = wanted.get(one);
    wanted.delete(one);
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

// A shadow at the right edge says that there are more columns.
function markHidden() {
  const {scrollLeft, clientWidth, scrollWidth} = document.querySelector(".tabulator-tableholder");
  at("rows").classList.toggle("more", scrollLeft + clientWidth < scrollWidth - 1);
}

// What a screen reader needs beyond what the library writes.
function nameParts() {
  for (const column of table.getColumns())
    column.getElement().querySelector(".tabulator-header-filter input")
      ?.setAttribute("aria-label", `Filter of ${column.getField()}`);
  document.querySelector(".tabulator-tableholder").setAttribute("role", "rowgroup");
  document.querySelector(".tabulator-table").setAttribute("role", "presentation");
}

function mark(row) {
  row.getElement().tabIndex = -1; // the arrow keys move the focus
  row.getElement().classList.toggle("open", row.getData()[numbered] === opened?.number);
}

async function open(number) {
  const mine = ++openCount, address = `/api/${one}/${number}`;
  stop();
  const song = await (await ask(of(address))).json();
  if (mine !== openCount) return; // another was opened meanwhile
  opened = {number: Number(number), address, ...song};
  at("song").hidden = false;
  at("panes").classList.add("two");
  table.getRows("active").forEach(mark);
  remember(true);
  at("title").textContent = song.facts.path;
  at("silent").textContent = song.silent || "";
  at("silent").hidden = !song.silent;
  for (const id of ["play", "time", "in", "out", "whole", "download"]) at(id).hidden = !song.music;
  at("download").href = of(`${address}.mid`);
  at("facts").replaceChildren(...Object.entries(song.facts).flatMap(([name, value]) =>
    [element("dt", name.replaceAll("_", " ")), element("dd", value)]));
  rolls.length = zoom = 0;
  at("rolls").replaceChildren();
  if (song.music) addRoll(song.music, song.facts.path, (step) => seek(step).catch(failed));
  listDuplicates(song.duplicates);
  if (song.music) place(0);
  if (at("song").offsetTop > at("left").offsetTop) // else it stands beside the table
    at("song").scrollIntoView({block: "nearest", behavior: "smooth"});
}

function addRoll(music, name, onSeek) {
  const roll = new Roll(music, name, onSeek);
  rolls.push(roll);
  at("rolls").append(roll.box, roll.legend());
  layoutRolls();
  return roll;
}

// The other songs of the cluster: a box shows one's roll under that of the song, a link opens it.
function listDuplicates(duplicates) {
  at("duplicates").hidden = !duplicates.length;
  at("duplicates").querySelector("ul").replaceChildren(...duplicates.map(({song, path}) => {
    const item = document.createElement("li"), label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), {type: "checkbox"});
    const link = Object.assign(element("a", "open"), {href: `#song=${song}&${listed}`});
    let roll;
    box.addEventListener("change", async () => {
      if (roll) {
        rolls.splice(rolls.indexOf(roll), 1);
        roll.box.nextSibling.remove(), roll.box.previousSibling.remove(), roll.box.remove();
        roll = undefined;
        return layoutRolls();
      }
      const {music} = await (await ask(of(`/api/song/${song}`))).json();
      at("rolls").append(element("h3", path));
      roll = addRoll(music, path);
    });
    label.append(box, ` ${song} `, element("bdi", path));
    item.append(label, " ", link);
    return item;
  }));
}

// Arrows choose a row, Enter opens it, space plays, + and - zoom, / searches, Escape leaves a field.
function press(event) {
  const here = document.activeElement, isField = here.matches("input, select, button, summary, a");
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape") return here.blur();
  if (isField) return;
  const rows = [...document.querySelectorAll(".tabulator-row")], focused = rows.indexOf(here);
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  const act = step ? () => rows[Math.min(Math.max(focused + step, 0), rows.length - 1)]?.focus()
    : {"/": () => at("search").focus(), "+": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), Enter: () => here.click(), " ": () => opened && toggle()}[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

at("play").addEventListener("click", toggle);
at("in").addEventListener("click", () => zoomBy(1.5));
at("out").addEventListener("click", () => zoomBy(1 / 1.5));
at("whole").addEventListener("click", () => zoomBy(0));
at("copy").addEventListener("click", () =>
  navigator.clipboard.writeText(at("fit").querySelector("code").textContent).catch(showError));
start().catch(showError);
