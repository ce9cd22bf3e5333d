"""Files damaged at random or made to be slow: does the reader crash, hang, or return bad times?"""

import random
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from benchmarks.arguments import Measurements, corpus_argument
from benchmarks.correctness.damage import mutated
from pipeline.midi import Recording, UnreadableMidi, read_midi, warm_up
from pipeline.midi.events import MAX_TICK


def mutants(files: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` mutants; the n-th depends on (seed, n) only."""
    for n in range(count):
        rng = random.Random(f"{seed} {n}")
        yield mutated(rng.choice(files), rng)


def check_bounds(recording: Recording) -> None:
    """Every time lies within 0 .. MAX_TICK (twice that in film frames), and no note ends early."""
    notes = recording.notes
    highest = 2 * MAX_TICK
    assert recording.ticks_per_beat > 0
    assert (notes["start"] >= 0).all()
    assert (notes["end"] >= notes["start"]).all()
    assert (notes["end"] <= highest).all()
    assert (np.diff(notes["start"]) >= 0).all()
    assert max(notes["pitch"].max(initial=0), notes["velocity"].max(initial=0)) < 128
    assert (recording.tempos["microseconds"] > 0).all()
    assert (recording.meters["numerator"] > 0).all()
    assert (recording.meters["denominator"] > 0).all()
    for events in (recording.tempos, recording.meters, recording.controls):
        assert ((events["tick"] >= 0) & (events["tick"] <= highest)).all()


def midi_file(events: bytes, rng: random.Random) -> bytes:
    """One track of `events`, up to 15 MiB of them; each 0xFE becomes a random byte below 128."""
    body = np.frombuffer(events * (HOSTILE_BYTES // len(events)), np.uint8).copy()
    free = np.flatnonzero(body == 0xFE)
    body[free] = np.frombuffer(rng.randbytes(len(free)), np.uint8) & 127
    return file_of(chunk(body.tobytes() + b"\0\xff\x2f\0"))


def chunk(events: bytes) -> bytes:
    """A track."""
    return b"MTrk" + len(events).to_bytes(4) + events


def file_of(tracks: bytes) -> bytes:
    """A file of format 1."""
    return b"MThd\0\0\0\6\0\1\xff\xff\1\xe0" + tracks


HOSTILE_BYTES = 15 * 2**20
NAMED_TRACK = chunk(b"\0\xff\x03\x04drum\0\x90\x3c\x40\0\xff\x2f\0")
GS_KIT = b"\0\xf0\x0a\x41\x10\x42\x12\x40\x11\x15\x01\x19\xf7"
HOSTILE = {
    "all notes on one tick": lambda rng: midi_file(b"\0\x90\xfe\x40", rng),
    "one key on and off": lambda rng: midi_file(b"\0\x90\x3c\x40\0\x3c\0", rng),
    "ons, then offs": lambda rng: midi_file(
        b"\0\x90\x3c\x40" * (HOSTILE_BYTES // 8) + b"\0\x80\x3c\x40" * (HOSTILE_BYTES // 8), rng
    ),
    "program changes and notes": lambda rng: midi_file(b"\0\xc0\xfe\0\x90\x3c\x40", rng),
    "kits and resets": lambda rng: midi_file(
        GS_KIT + b"\0\xf0\5\x7e\x7f\x09\1\xf7" + b"\0\x90\x3c\x40", rng
    ),
    "names": lambda rng: midi_file(b"\0\xff\x03\x04drum", rng),
    "controllers": lambda rng: midi_file(b"\0\xb0\xfe\xfe", rng),
    "a name and a note per track": lambda rng: file_of(
        NAMED_TRACK * (HOSTILE_BYTES // len(NAMED_TRACK))
    ),
    "tracks of impossible length": lambda rng: file_of(
        b"MTrk\xff\xff\xff\xff" * (HOSTILE_BYTES // 8)
    ),
    "an endless number": lambda rng: midi_file(b"\xff", rng),
}
"""Files that are slow to read, each for another reason."""


command = Measurements(help=__doc__)


@command.command("mutated")
@corpus_argument
@click.option("--files", default=100_000, show_default=True, help="Mutants to read.")
@click.option("--seed", default=0, show_default=True)
def mutated_files(corpus: Path, files: int, seed: int) -> None:
    """Read files of CORPUS with one to eight random bytes flipped, cut, inserted or deleted."""
    contents = [path.read_bytes() for path in sorted(corpus.rglob("*")) if path.is_file()]
    contents = [data for data in contents if data]
    warm_up()
    outcomes, slowest, total = Counter(), 0.0, 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in mutants(contents, files, seed):
        begin = time.perf_counter()
        try:
            recording = read_midi(data)
            outcome = recording.tier
        except UnreadableMidi as error:
            recording, outcome = None, error.code
        seconds = time.perf_counter() - begin
        slowest, total = max(slowest, seconds), total + seconds
        outcomes[outcome] += 1
        if recording is not None:
            check_bounds(recording)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{files:,} mutants of {len(contents):,} files, seed {seed}")
    print(", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common()))
    print(f"crashes 0, out of bounds 0; {total:.1f} s in all, slowest file {1000 * slowest:.1f} ms")
    print(f"peak memory {after / 1024:.0f} MiB, of which {before / 1024:.0f} before the first file")


@command.command()
@click.option("--seed", default=0, show_default=True)
def slow(seed: int) -> None:
    """Read files of the largest size that is read, each made to be slow in its own way."""
    warm_up()
    for kind, make in HOSTILE.items():
        data = make(random.Random(f"{seed} {kind}"))
        begin = time.perf_counter()
        recording = read_midi(data)
        seconds = time.perf_counter() - begin
        check_bounds(recording)
        megabytes = len(data) / 1e6
        print(f"{kind:28} {megabytes:5.1f} MB {len(recording.notes):9,} notes {seconds:5.2f} s")
