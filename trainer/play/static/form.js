// The form that says what to write: the band, and the settings of `trainer generate`.
const BANDS = [["any instruments", null], ["piano", [0]], ["jazz trio", [0, 32, "drums"]],
  ["rock band", [27, 30, 33, "drums"]], ["pop band", [0, 25, 33, 48, "drums"]],
  ["funk band", [4, 28, 36, 61, "drums"]], ["strings", [40, 41, 42, 43]], ["brass", [56, 57, 60, 58]],
  ["orchestra", [40, 41, 42, 43, 73, 68, 71, 60, 56, 47]], ["own choice", []]];
const KEYS = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const LACKS_CONDITIONS = "This model was trained without key and density as inputs: they cannot be chosen.";
export const LACKS_REARRANGING = "This model was trained to go on from what is there only: it cannot rewrite bars between others, "
  + "nor write one part to others.";
const at = (id) => document.getElementById(id);
let about, band = null;

export function element(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), {textContent: text ?? ""}, properties);
}

export const nameOf = (part) => (part === "drums" ? "Drums" : about.instruments[part]);

// Fill the form for a model that the server is about; see /api/about.
export function fillForm(given) {
  about = given;
  BANDS.forEach(([name], n) => at("band").append(element("option", name, {value: n})));
  const groups = [["Drums", ["drums"]]];
  let program = 0;
  for (const [family, size] of about.families) {
    groups.push([family, Array.from({length: size}, (_, n) => program + n)]);
    program += size;
  }
  for (const [family, parts] of groups) {
    const group = Object.assign(document.createElement("optgroup"), {label: family});
    group.append(...parts.map((part) => element("option", nameOf(part), {value: part})));
    at("add").append(group);
  }
  at("meter").append(...about.meters.map((meter) => element("option", meter, {value: meter})));
  for (const mode of ["major", "minor"])
    at("key").append(...KEYS.map((key) => element("option", `${key} ${mode}`, {value: `${key} ${mode}`})));
  for (let n = 1; n <= about.most.takes; n++) at("count").append(element("option", n, {value: n}));
  at("bars").max = about.most.bars;
  for (const label of document.querySelectorAll(".condition"))
    label.hidden = !about.conditions;
  const lacks = [!about.conditions && LACKS_CONDITIONS, !about.rearranged && LACKS_REARRANGING].filter(Boolean);
  at("lacks").textContent = lacks.join(" ");
  at("lacks").hidden = !lacks.length;
  at("sound").textContent = about.soundfont ? "" : `Played with simple oscillators: ${about.sound_fault}`;
  at("sound").hidden = about.soundfont;
  at("band").addEventListener("change", () => setBand(BANDS[at("band").value][1]));
  at("add").addEventListener("change", () => add(at("add").value));
}

function setBand(parts) {
  band = parts;
  at("players").hidden = !parts;
  at("players").replaceChildren(...(parts ?? []).map((part) => {
    const chip = element("button", nameOf(part), {type: "button", title: "Remove"});
    chip.addEventListener("click", () => setBand(band.filter((other) => other !== part)));
    return chip;
  }));
}

function add(value) {
  if (!value) return;
  const part = value === "drums" ? value : Number(value);
  at("add").value = "";
  at("band").value = BANDS.length - 1;
  if (!band?.includes(part)) setBand([...(band ?? []), part]);
}

// What the form says, as settings of `trainer generate`; what is left open is left out.
export function settings() {
  const numbers = {bars: at("bars").valueAsNumber, tempo: at("tempo").valueAsNumber,
    notes_per_bar: at("notes_per_bar").valueAsNumber, temperature: at("temperature").valueAsNumber,
    guidance: at("guidance").valueAsNumber, seed: at("seed").valueAsNumber};
  const chosen = {ending: at("ending").checked, meter: at("meter").value, key: at("key").value,
    instruments: band?.length ? band.join(",") : ""};
  for (const [name, value] of Object.entries(numbers)) if (!Number.isNaN(value)) chosen[name] = value;
  chosen.seed ??= crypto.getRandomValues(new Uint32Array(1))[0];
  return Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== ""));
}
