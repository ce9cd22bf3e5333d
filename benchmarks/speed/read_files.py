"""The MIDI reader versus symusic and mido: seconds per file and files per second, on one core."""

import io
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.arguments import Measurement, corpus_argument
from benchmarks.corpus import midi_files
from pipeline.midi import read_midi, warm_up

ROUNDS = 7
MIDO_EVERY = 20
"""mido reads one file in this many; it is compared on the same files."""

Read = Callable[[bytes], object]


def accepts(read: Read, data: bytes) -> bool:
    """Whether a reader returns, whatever it raises otherwise."""
    try:
        read(data)
    except Exception:  # noqa: BLE001 - peers raise what they like
        return False
    return True


def seconds_per_file(read: Read, files: list[bytes]) -> list[float]:
    taken = []
    for data in files:
        begin = time.perf_counter()
        read(data)
        taken.append(time.perf_counter() - begin)
    return taken


@click.command(cls=Measurement)
@corpus_argument
@click.option("--largest", type=int, help="Only files of at most so many bytes.")
def command(corpus: Path, largest: int | None) -> None:
    """Time the reader, symusic and mido on the files of CORPUS that they accept.

    They take turns in one process, so that a busy machine is busy for all; each file's best of
    seven readings counts.
    """
    import mido
    import symusic

    def read_by_mido(data: bytes) -> object:
        return mido.MidiFile(file=io.BytesIO(data))

    warm_up()
    readers: dict[str, Read] = {"lakhxl": read_midi, "symusic": symusic.Score.from_midi}
    contents = [path.read_bytes() for path in midi_files(corpus)]
    contents = [data for data in contents if largest is None or len(data) <= largest]
    files = [data for data in contents if all(accepts(read, data) for read in readers.values())]
    rounds = defaultdict(list)
    for _ in range(ROUNDS):
        for name, read in readers.items():
            rounds[name].append(seconds_per_file(read, files))
    best = {name: sum(map(min, zip(*taken, strict=True))) for name, taken in rounds.items()}
    size = sum(map(len, files))
    print(f"{platform.machine()}, Python {platform.python_version()}, one core")
    print(f"{len(files):,} files, {size / 1e6:.1f} MB, sum of each file's best of {ROUNDS}")
    for name, taken in best.items():
        print(
            f"  {name:8} {taken:6.3f} s  {1000 * taken / len(files):.3f} ms per file"
            f"  {len(files) / taken:7,.0f} files/s  {size / taken / 1e6:6.1f} MB/s"
        )
    print(f"  symusic takes {best['symusic'] / best['lakhxl']:.2f} times as long as lakhxl")
    some = [data for data in files[::MIDO_EVERY] if accepts(read_by_mido, data)]
    ours = min(sum(seconds_per_file(read_midi, some)) for _ in range(ROUNDS))
    theirs = sum(seconds_per_file(read_by_mido, some))
    print(
        f"{len(some)} of them by mido: {theirs:.2f} s, by lakhxl {ours:.4f} s: "
        f"mido takes {theirs / ours:.0f} times as long"
    )
