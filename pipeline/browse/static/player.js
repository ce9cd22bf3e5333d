// Plays the open song, by the soundfont of the server or the page's own synthesizer, and moves the
// cursor of the roll. Time is in steps of the song; `clock` says at which second each tempo begins.
"use strict";

let opened; // {of, number, facts, music …}
const synthesizer = {
  async load() {
    this.synth ??= new WebAudioTinySynth({quality: 1});
    await this.synth.getAudioContext().resume();
    if (this.loaded === opened) return;
    this.synth.loadMIDI(await (await ask(of(`${opened.address}.mid`))).arrayBuffer());
    this.loaded = opened;
  },
  play() { this.synth.playMIDI(); },
  stop() { this.synth?.stopMIDI(); },
  // Ticks of the .mid are steps of the song, so one maps linearly to the other.
  seek(step) {
    this.synth.locateMIDI(Math.floor(step / lastStep() * this.synth.getPlayStatus().maxTick));
  },
  get step() {
    const {curTick, maxTick} = this.synth.getPlayStatus();
    return maxTick ? curTick / maxTick * lastStep() : 0;
  },
  get isPlaying() { return Boolean(this.synth?.getPlayStatus().play); },
};
const soundfont = {
  async load() {
    this.audio ??= new Audio();
    if (this.loaded === opened) return;
    at("play").textContent = "Rendering…";
    const sound = await (await ask(of(`${opened.address}.wav`))).blob();
    URL.revokeObjectURL(this.audio.src);
    this.audio.src = URL.createObjectURL(sound);
    this.loaded = opened;
  },
  play() { return this.audio.play(); },
  stop() { this.audio?.pause(); },
  seek(step) { this.audio.currentTime = secondsAt(step); },
  get step() { return stepAtSecond(this.audio.currentTime); },
  get isPlaying() { return Boolean(this.audio && !this.audio.paused && !this.audio.ended); },
};
const synth = synthesizer;
let player = synthesizer;

function lastStep() { return opened.music.clock.at(-1)[0]; }

function between(x, from, to) {
  const {clock} = opened.music;
  let n = 1;
  while (n < clock.length - 1 && clock[n][from] <= x) n += 1;
  const [a, b] = [clock[n - 1], clock[n]];
  return a[to] + (b[from] > a[from] ? (x - a[from]) / (b[from] - a[from]) * (b[to] - a[to]) : 0);
}
function secondsAt(step) { return between(step, 0, 1); }
function stepAtSecond(seconds) { return Math.min(between(seconds, 1, 0), lastStep()); }

async function play() {
  const mine = opened;
  await player.load();
  if (mine !== opened) return; // another was opened meanwhile
  await player.play();
  at("play").textContent = "Pause";
  at("play").dataset.playing = "";
  follow();
}

function stop() {
  player.stop();
  at("play").textContent = "Play";
  delete at("play").dataset.playing;
}

function follow() {
  place(player.step, true);
  if (!player.isPlaying) return stop();
  requestAnimationFrame(follow);
}

function place(step, isPlaying = false) {
  const seconds = Math.floor(secondsAt(step));
  rolls[0]?.place(step, isPlaying);
  at("time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

async function seek(step) {
  await player.load();
  if (!player.isPlaying) stop();
  player.seek(step);
  place(step);
}

function toggle() {
  if (!opened?.music) return;
  return "playing" in at("play").dataset ? stop() : play().catch(failed);
}

function failed(error) {
  stop();
  showError(error);
}

function offerSounds(name) {
  if (!name) return;
  player = soundfont;
  at("sound").append(new Option(name, "soundfont"), new Option("simple synthesizer", "synthesizer"));
  at("sound").hidden = false;
  at("sound").addEventListener("change", () => {
    stop();
    player = {soundfont, synthesizer}[at("sound").value];
  });
}
