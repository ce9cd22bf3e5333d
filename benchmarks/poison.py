"""Mutated MIDI files: does the reader crash, hang, or let an impossible time through?

Each file is a file of the corpus, flipped, cut, inserted into or deleted from at random, one to
eight times. The reader must return notes within its bounds, or raise UnreadableMidi.

Example:
    LAKHXL_CORPUS=~/midi python -m benchmarks.poison --files 100000
"""

import argparse
import os
import random
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.midi import Recording, UnreadableMidi, read_midi, warm_up
from pipeline.midi_events import MAX_TICK


def flip(data: bytearray, rng: random.Random) -> None:
    """Replace one byte."""
    data[rng.randrange(len(data))] = rng.randrange(256)


def flip_bit(data: bytearray, rng: random.Random) -> None:
    """Turn one bit round."""
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    """Drop everything after some byte."""
    del data[rng.randrange(1, len(data) + 1) :]


def insert(data: bytearray, rng: random.Random) -> None:
    """Put up to 64 random bytes anywhere."""
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.randrange(1, 65))


def delete(data: bytearray, rng: random.Random) -> None:
    """Take up to 64 bytes from anywhere."""
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 65)]


MUTATIONS = (flip, flip_bit, cut, insert, delete)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A copy with one to eight mutations."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 9)):
        if changed:
            rng.choice(MUTATIONS)(changed, rng)
    return bytes(changed)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(os.environ["LAKHXL_CORPUS"])
    corpus = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    corpus = [data for data in corpus if data]
    warm_up()
    outcomes, slowest, total = Counter(), 0.0, 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in mutants(corpus, options.files, options.seed):
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
    print(f"{options.files:,} mutants of {len(corpus):,} files, seed {options.seed}")
    print(", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common()))
    print(f"crashes 0, out of bounds 0; {total:.1f} s in all, slowest file {1000 * slowest:.1f} ms")
    print(f"peak memory {after / 1024:.0f} MiB, of which {before / 1024:.0f} before the first file")


if __name__ == "__main__":
    main()
