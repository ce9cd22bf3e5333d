"""Laws of the codec and of silence removal, checked on every real song with every option.

encode(decode(x)) == x for every array, with x from the pipeline's compiled encoder and encode the
codec's; decode(encode(song)) == song on the grid; every onset on the grid is a rounded onset of the
file; silence removal loses no note, keeps each note's position in its bar, its meter and its tempo,
and changes nothing more when repeated.
"""

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import Measurements, corpus_argument
from benchmarks.corpus import midi_files, recordings
from benchmarks.correctness.midi_edits import File, NotSimple, is_note, is_on, read, write
from pipeline.clean.encode import encode
from pipeline.clean.quantize import Snap, quantize
from pipeline.clean.silence import remove_silence
from pipeline.clean.silence_settings import SilenceSettings
from pipeline.midi import Recording, UnreadableMidi, read_midi
from pipeline.midi.pedal import extend_by_pedal
from shards.bars import Bars
from shards.check import song_fault
from shards.codec import Codec
from shards.song import Song
from shards.vocabulary import CodecSettings, Vocabulary

OPTIONS = (
    {},
    *({"controls": controls} for controls in ("bend", "mod", "bend,mod")),
    *({"percussion": percussion} for percussion in ("gm", "full")),
    *({"steps_per_beat": steps} for steps in (4, 6, 8, 12, 16, 32, 48, 96)),
    {"meters": False},
    {"tempos": False},
    {"max_duration": 1},
    {"sustain": "extend"},
    {"max_silence": 0},
    {"max_leading_silence": 9},
)
COLUMNS = ("songs", "notes", "tokens", "bars_cut", "encode_decode", "decode_encode", "off_grid",
           "lost", "moved", "twice")  # fmt: skip
TEN_HOURS, EVERY = 36_000, 12


command = Measurements(help=__doc__)


class Option:
    """Settings that are not at their defaults, and how many songs break which law with them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        def of(stage: type) -> dict[str, Any]:
            names = {field.name for field in fields(stage)}
            return {name: value for name, value in settings.items() if name in names}

        self.name = ", ".join(f"{name}={value}" for name, value in settings.items()) or "defaults"
        self.extend = settings.get("sustain") == "extend"
        self.silence = SilenceSettings(**of(SilenceSettings))
        self.codec = Codec(Vocabulary(CodecSettings(**of(CodecSettings))))
        self.counts: Counter[str] = Counter()

    def check(self, recording: Recording) -> None:
        """Count one song, and the laws it breaks."""
        recording = extend_by_pedal(recording) if self.extend else recording
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
        """Notes whose position in the bar, meter or tempo silence removal has changed."""
        if len(whole.notes) != len(song.notes):
            return abs(len(whole.notes) - len(song.notes))
        return int((self._positions(whole) != self._positions(song)).any(axis=0).sum())

    def _positions(self, song: Song) -> np.ndarray:
        starts = song.notes["start"]
        bars = Bars(song.meters, self.codec.vocabulary.bar_steps)
        meter = np.searchsorted(song.meters["start"], starts, side="right") - 1
        tempo = np.searchsorted(song.tempos["start"], starts, side="right") - 1
        return np.array(
            [
                bars.locate(starts)[1],
                song.meters["numerator"][meter],
                song.meters["denominator"][meter],
                song.tempos["microseconds"][tempo],
            ]
        )


@command.command()
@corpus_argument
def songs(corpus: Path) -> None:
    """Print for each option the number of songs, and how many break which law."""
    options = [Option(settings) for settings in OPTIONS]
    for recording in recordings(corpus):
        for option in options:
            option.check(recording)
    print(f"| option | {' | '.join(name.replace('_', ' ') for name in COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for option in options:
        print(f"| {option.name} | {' | '.join(f'{option.counts[n]:,}' for n in COLUMNS)} |")


def with_gap(file: File, ticks: int) -> File:
    """The file with a rest inserted at its middle: notes that start after it start later."""
    starts = [t for events in file.tracks for t, e in events if is_on(e)]
    middle = int(np.median(starts)) + 1
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


@command.command()
@corpus_argument
def gap(corpus: Path) -> None:
    """Print how many tokens ten hours of silence add, inserted into every twelfth song."""
    codec, ratios, notes = Codec(Vocabulary()), [], []
    for path in midi_files(corpus)[::EVERY]:
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
            song, _ = remove_silence(whole, codec.vocabulary.bar_steps, SilenceSettings())
            sizes.append((len(encode(song, codec)), len(song.notes)))
        ratios.append(sizes[1][0] / sizes[0][0])
        notes.append(sizes[1][1] - sizes[0][1])
    low, high = (100 * ratio - 100 for ratio in (min(ratios), max(ratios)))
    print(f"{len(ratios)} songs with ten hours of silence: tokens {low:+.2f} % to {high:+.2f} %")
    print(f"notes {min(notes):+d} to {max(notes):+d}; more where the rest separates merged notes")
