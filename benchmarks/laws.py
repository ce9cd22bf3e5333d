"""Do the laws of codec and silence hold for every real song, whatever the options?

    python -m benchmarks.laws songs CORPUS    each option by itself, every readable song
    python -m benchmarks.laws gap CORPUS      ten hours of silence put into every twelfth song

Held to, song by song: encode(decode(x)) is x, every array, with x by the pipeline's compiled
encoder and encode the codec's; decode(encode(song)) is the song on
the grid; every onset on the grid is an onset of the file, rounded; and of silence removal: no
note is lost, each keeps its place in its bar, its meter and its tempo, and doing it twice changes
nothing more.
"""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.corpus import midi_files, recordings
from benchmarks.midi_edits import File, NotSimple, is_note, is_on, read, write
from pipeline.clean.encode import encode
from pipeline.clean.quantize import Snap, quantize
from pipeline.clean.silence import SilenceSettings, remove_silence
from pipeline.midi import Recording, UnreadableMidi, read_midi
from pipeline.midi.pedal import extend_by_pedal
from shards.bars import Bars
from shards.codec import Codec
from shards.song import Song
from shards.verify import song_fault
from shards.vocabulary import CodecSettings, Vocabulary

OPTIONS = (
    {},
    *({"controls": controls} for controls in ("bend", "mod", "bend,mod")),
    *({"percussion": percussion} for percussion in ("gm2", "full")),
    *({"steps_per_beat": steps} for steps in (4, 6, 8, 16, 24, 32, 48, 96)),
    {"meters": False},
    {"tempos": False},
    {"max_duration": 1},
    {"sustain": "extend"},
    {"max_silence": 0},
    {"max_leading_silence": 9},
)
TEN_HOURS, EVERY = 36_000, 12


class Option:
    """One setting that is not at its default, and what came of the songs under it."""

    def __init__(self, settings: dict) -> None:
        self.name = ", ".join(f"{name}={value}" for name, value in settings.items()) or "defaults"
        self.extends = settings.get("sustain") == "extend"
        stages = (SilenceSettings, CodecSettings)
        silence, codec = (
            stage(**{n: v for n, v in settings.items() if n in stage.__dataclass_fields__})
            for stage in stages
        )
        self.silence, self.codec = silence, Codec(Vocabulary(codec))
        self.counts: Counter[str] = Counter()

    def take(self, recording: Recording) -> None:
        """Count one song, and which laws it breaks."""
        recording = extend_by_pedal(recording) if self.extends else recording
        vocabulary = self.codec.vocabulary
        whole = quantize(recording, vocabulary).song
        if not len(whole.notes):
            return
        snap = Snap(recording.ticks_per_beat, vocabulary.settings.steps_per_beat)
        song, removed = remove_silence(whole, vocabulary.bar_steps, self.silence)
        encoded = encode(song, self.codec)
        again, _ = remove_silence(song, vocabulary.bar_steps, self.silence)
        self.counts += Counter(
            songs=1,
            notes=len(song.notes),
            tokens=len(encoded),
            bars_cut=removed.bars,
            encode_decode=song_fault(encoded, self.codec) is not None,
            decode_encode=self.codec.decode(encoded) != song,
            off_grid=int((~np.isin(whole.notes["start"], snap(recording.notes["start"]))).sum()),
            lost=len(whole.notes) - len(song.notes),
            moved=self._moved(whole, song),
            twice=again != song,
        )

    def _moved(self, whole: Song, song: Song) -> int:
        """Notes whose place in the bar, meter or tempo silence removal has changed."""
        if len(whole.notes) != len(song.notes):
            return abs(len(whole.notes) - len(song.notes))
        known = [self._place(one) for one in (whole, song)]
        return int((known[0] != known[1]).any(axis=0).sum())

    def _place(self, song: Song) -> np.ndarray:
        starts = song.notes["start"]
        bars = Bars(song.meters, self.codec.vocabulary.bar_steps)
        meter = np.searchsorted(song.meters["start"], starts, side="right") - 1
        tempo = np.searchsorted(song.tempos["start"], starts, side="right") - 1
        return np.array(
            [
                bars.positions(starts)[1],
                song.meters["numerator"][meter],
                song.meters["denominator"][meter],
                song.tempos["microseconds"][tempo],
            ]
        )


COLUMNS = ("songs", "notes", "tokens", "bars_cut", "encode_decode", "decode_encode", "off_grid",
           "lost", "moved", "twice")  # fmt: skip


def songs(corpus: Path) -> None:
    """Print for each option the songs, and how many break which law."""
    options = [Option(settings) for settings in OPTIONS]
    for recording in recordings(corpus):
        for option in options:
            option.take(recording)
    print(f"| option | {' | '.join(name.replace('_', ' ') for name in COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for option in options:
        print(f"| {option.name} | {' | '.join(f'{option.counts[n]:,}' for n in COLUMNS)} |")


def with_gap(file: File, ticks: int) -> File:
    """The same with so long a rest after its middle: what is struck later comes later."""
    struck = [t for events in file.tracks for t, e in events if is_on(e)]
    middle = int(np.median(struck)) + 1
    tracks = []
    for events in file.tracks:
        before, after, sounding = [], [], Counter()
        for tick, event in events:
            key = event[0] & 15, event[1]
            ends = is_note(event) and not is_on(event) and tick >= middle and sounding[key] > 0
            if tick < middle or ends:
                before.append((tick, event))
                sounding[key] += is_on(event) if tick < middle else -1
            else:
                after.append((tick + ticks, event))
        tracks.append(before + after)
    return replace(file, tracks=tracks)


def gap(corpus: Path) -> None:
    """Print what ten hours of silence, by the file's first tempo, cost in tokens."""
    codec, ratios, notes = Codec(Vocabulary()), [], []
    paths = midi_files(corpus)[::EVERY]
    for path in paths:
        try:
            file = read(path.read_bytes())
            recording = read_midi(path.read_bytes())
        except (NotSimple, UnreadableMidi):
            continue
        if len(recording.notes) < 2:
            continue
        tempos = recording.tempos["microseconds"]
        beat = int(tempos[0]) if len(tempos) else 500_000
        ticks = TEN_HOURS * 1_000_000 // beat * file.division
        sizes = []
        for data in (write(file), write(with_gap(file, ticks))):
            whole = quantize(read_midi(data), codec.vocabulary).song
            song, removed = remove_silence(whole, codec.vocabulary.bar_steps, SilenceSettings())
            sizes.append((len(encode(song, codec)), len(song.notes), removed.seconds))
        ratios.append(sizes[1][0] / sizes[0][0])
        notes.append(sizes[1][1] - sizes[0][1])
    least, most = (100 * end - 100 for end in (min(ratios), max(ratios)))
    print(f"{len(ratios)} songs with ten hours of silence: tokens {least:+.2f} % to {most:+.2f} %")
    print(f"notes {min(notes):+d} to {max(notes):+d}; more where the rest parts doubled ones")


if __name__ == "__main__":
    {"songs": songs, "gap": gap}[sys.argv[1]](Path(sys.argv[2]))
