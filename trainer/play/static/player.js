// Plays a song while it is still being written: notes are handed to a synthesizer a moment before
// they sound, and where the music is not written yet, the player waits for it.
import {WorkletSynthesizer} from "/spessasynth.js";

const EVERY = 40; // milliseconds between two looks at the notes that are due
const AHEAD = 0.15, AHEAD_HIDDEN = 1.5; // seconds; hidden pages are woken only once a second
const ENOUGH = 3; // seconds of music to have before going on after a wait
const DRUMS = 9, LAST = 15; // channels
const MELODIC = [...Array(LAST).keys()].filter((channel) => channel !== DRUMS);

// What is common to the notes of one part: its program, or "drums".
export const partOf = (note) => (note[2] < 128 ? note[2] : "drums");

// Seconds from the start of a song to a step, by its tempos [step, microseconds per beat].
export function secondsAt(song, step, perBeat) {
  let seconds = 0;
  song.tempos.forEach(([from, microseconds], n) => {
    const to = Math.min(song.tempos[n + 1]?.[0] ?? Infinity, step);
    if (to > from) seconds += (to - from) * microseconds / 1e6 / perBeat;
  });
  return seconds;
}

export function stepAt(song, seconds, perBeat) {
  let left = seconds;
  for (const [n, [from, microseconds]] of song.tempos.entries()) {
    const scale = microseconds / 1e6 / perBeat, next = song.tempos[n + 1]?.[0] ?? Infinity;
    if (left < (next - from) * scale) return from + left / scale;
    left -= (next - from) * scale;
  }
  return 0;
}

// A General MIDI soundfont, played by spessasynth.
class Sampled {
  context = new AudioContext({latencyHint: "interactive"});
  bank = fetch("/soundfont").then((answer) => answer.arrayBuffer());
  processor = this.context.audioWorklet.addModule("/spessasynth_processor.js");

  async start() {
    await this.context.resume();
    this.ready ??= this.make();
    await this.ready;
  }

  async make() {
    await this.processor;
    this.synth = new WorkletSynthesizer(this.context);
    this.synth.connect(this.context.destination);
    await this.synth.soundBankManager.addSoundBank(await this.bank, "soundfont");
    await this.synth.isReady;
  }

  send(message, time) { this.synth.sendMessage(message, 0, {time}); }

  silence() { this.synth?.stopAll(true); }
}

// Simple oscillators, where there is no soundfont.
class Oscillators {
  async start() {
    this.synth ??= new WebAudioTinySynth({quality: 1}); // it makes sound at once: not before a click
    this.context = this.synth.getAudioContext();
    await this.context.resume();
  }

  send(message, time) { this.synth.send(message, time); }

  silence() { for (let channel = 0; channel < 16; channel++) this.synth?.send([0xb0 + channel, 120, 0]); }
}

export class Player {
  // perBeat: steps in a beat; changed: called whenever there is something new to show.
  constructor(hasSoundfont, perBeat, changed) {
    this.synth = hasSoundfont ? new Sampled() : new Oscillators();
    this.perBeat = perBeat;
    this.changed = changed;
    this.song = null;
    this.playing = this.waiting = false;
  }

  // Play a song from a step on; `muted` is a set of parts that may change meanwhile.
  async play(song, step, muted) {
    this.pause();
    this.song = song, this.muted = muted, this.playing = true, this.at = step;
    const mine = this.turn = {};
    try {
      await this.synth.start();
    } catch (error) {
      this.playing = false;
      throw error;
    }
    if (this.turn !== mine) return; // paused meanwhile
    this.channels = new Map(), this.holders = new Map(), this.ends = [];
    this.go();
    this.timer = setInterval(() => this.tick(), EVERY);
    this.tick();
  }

  // Start the clock at `at`.
  go() {
    const {song, at} = this;
    this.waiting = false;
    this.zero = this.synth.context.currentTime + 0.05 - secondsAt(song, at, this.perBeat);
    this.next = song.notes.findIndex((note) => note[0] >= at);
    if (this.next < 0) this.next = song.notes.length;
  }

  pause() {
    if (!this.playing) return;
    this.at = this.step;
    this.playing = this.waiting = false;
    this.turn = null;
    clearInterval(this.timer);
    this.synth.silence();
    setTimeout(() => this.playing || this.synth.silence(), 1000 * AHEAD); // what was handed over
    this.changed();
  }

  // Where the music is now, in steps.
  get step() {
    if (!this.playing || this.waiting || this.zero === undefined) return this.at ?? 0;
    const seconds = Math.max(this.synth.context.currentTime - this.zero, 0);
    return Math.min(stepAt(this.song, seconds, this.perBeat), this.end);
  }

  // Up to where it may be played: what is written; of a finished song all, with its last notes' ends.
  get end() {
    const {song} = this;
    return song.done ? song.notes.reduce((last, note) => Math.max(last, note[0] + note[1]), 0) : song.until;
  }

  tick() {
    if (!this.playing) return;
    const {song, perBeat} = this, now = this.synth.context.currentTime;
    const ready = secondsAt(song, this.end, perBeat);
    if (this.waiting) {
      if (!song.done && ready - secondsAt(song, this.at, perBeat) < ENOUGH) return;
      this.go();
    }
    const until = now - this.zero + (document.hidden ? AHEAD_HIDDEN : AHEAD);
    for (; this.next < song.notes.length; this.next++) {
      const note = song.notes[this.next], seconds = secondsAt(song, note[0], perBeat);
      if (seconds > until) break;
      if (!this.muted.has(partOf(note))) this.sound(note, seconds);
    }
    this.ends = this.ends.filter(({part, seconds, message}) => {
      const isMuted = this.muted.has(part), isDue = seconds <= until || isMuted;
      if (isDue) this.synth.send(message, isMuted ? now : this.zero + seconds);
      return !isDue;
    });
    if (now - this.zero >= ready) this.reachEnd(now);
    this.changed();
  }

  reachEnd(now) {
    if (this.song.done) {
      this.pause();
      this.at = 0;
      return;
    }
    for (const {message} of this.ends) this.synth.send(message, now);
    this.ends = [];
    this.at = this.end;
    this.waiting = true;
  }

  sound(note, seconds) {
    const [, duration, , pitch, velocity] = note;
    const part = partOf(note), channel = this.channelOf(part, this.zero + seconds);
    const end = secondsAt(this.song, note[0] + duration, this.perBeat) - 0.002;
    this.synth.send([0x90 + channel, pitch, velocity], this.zero + seconds);
    this.ends.push({part, seconds: end, message: [0x80 + channel, pitch, 0]});
  }

  // Fourteen programs have a channel each, the others share one, which changes its program.
  channelOf(part, time) {
    if (part === "drums") return DRUMS;
    if (!this.channels.has(part))
      this.channels.set(part, MELODIC[this.channels.size] ?? LAST);
    const channel = this.channels.get(part);
    if (this.holders.get(channel) !== part) {
      this.holders.set(channel, part);
      this.synth.send([0xc0 + channel, part], time);
    }
    return channel;
  }
}
