"""The reader beside symusic, mido and pretty_midi: how fast, and how much of damaged files.

Runs in an environment with the peers (requirements-bench.txt), all of them in one process.
LAKHXL_CORPUS names a folder that holds `songs` and `damaged`.

Example:
    LAKHXL_CORPUS=~/midi python -m benchmarks.reader speed
    LAKHXL_CORPUS=~/midi python -m benchmarks.reader saved
"""

import argparse
import io
import os
import platform
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import mido
import pretty_midi
import symusic

from pipeline.midi import UnreadableMidi, read_midi, warm_up

ROUNDS = 7
MIDO_EVERY = 20  # mido reads one file in so many; it is compared on the same files
ENOUGH = 0.9  # of the notes that can be had


def count_ours(data: bytes) -> int:
    return len(read_midi(data).notes)


def count_symusic(data: bytes) -> int:
    return symusic.Score.from_midi(data).note_num()


def count_mido(data: bytes, clip: bool = False) -> int:
    file = mido.MidiFile(file=io.BytesIO(data), clip=clip)
    return sum(
        message.type == "note_on" and message.velocity > 0
        for each in file.tracks
        for message in each
    )


def count_mido_clip(data: bytes) -> int:
    return count_mido(data, clip=True)


def count_pretty_midi(data: bytes) -> int:
    score = pretty_midi.PrettyMIDI(io.BytesIO(data))
    return sum(len(instrument.notes) for instrument in score.instruments)


READERS: dict[str, Callable[[bytes], int]] = {
    "lakhxl": count_ours,
    "mido": count_mido,
    "mido (clip)": count_mido_clip,
    "symusic": count_symusic,
    "pretty_midi": count_pretty_midi,
}


def notes_or_none(reader: Callable[[bytes], int], data: bytes) -> int | None:
    """What the reader counts, or None where it refuses the file, in whatever way."""
    try:
        return reader(data)
    except Exception:  # noqa: BLE001 - peers raise what they like
        return None


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def seconds_each(read: Callable[[bytes], object], files: list[bytes]) -> list[float]:
    taken = []
    for data in files:
        begin = time.perf_counter()
        read(data)
        taken.append(time.perf_counter() - begin)
    return taken


def speed(corpus: Path) -> None:
    files = [
        data
        for data in contents(corpus / "songs").values()
        if notes_or_none(count_symusic, data) is not None
        and notes_or_none(count_ours, data) is not None
    ]
    contest = {"lakhxl": read_midi, "symusic": symusic.Score.from_midi}
    rounds = defaultdict(list)
    for _ in range(ROUNDS):  # in turns, so that a busy machine is busy for both
        for name, read in contest.items():
            rounds[name].append(seconds_each(read, files))
    best = {name: sum(map(min, zip(*taken, strict=True))) for name, taken in rounds.items()}
    size = sum(map(len, files))
    print(
        f"{len(files):,} files, {size / 1e6:.1f} MB, sum of each file's best of {ROUNDS}, one core"
    )
    for name, taken in best.items():
        print(
            f"  {name:8} {taken:6.3f} s  {1000 * taken / len(files):.3f} ms a file"
            f"  {len(files) / taken:7,.0f} files/s  {size / taken / 1e6:6.1f} MB/s"
        )
    print(f"  symusic takes {best['symusic'] / best['lakhxl']:.2f} times as long as lakhxl")
    few = [data for data in files[::MIDO_EVERY] if notes_or_none(count_mido, data) is not None]
    ours = min(sum(seconds_each(read_midi, few)) for _ in range(ROUNDS))
    theirs = sum(seconds_each(lambda data: mido.MidiFile(file=io.BytesIO(data)), few))
    print(
        f"{len(few)} of them by mido: {theirs:.2f} s, by lakhxl {ours:.4f} s: "
        f"mido takes {theirs / ours:.0f} times as long"
    )


def kind_of(data: bytes) -> str:
    """What is wrong with a song, by what the reader repaired."""
    try:
        recording = read_midi(data)
    except UnreadableMidi as error:
        return f"songs: unreadable ({error.code})"
    kinds = {
        "gzip_wrapper": "gzip archive",
        "riff_wrapper": "RIFF wrapper",
        "truncated_track": "truncated",
        "lost_sync": "damage inside a track",
        "track_length": "track length",
        "data_byte": "data byte over 127",
        "bad_key_signature": "bad key signature",
    }
    return "songs: " + next((kinds[k] for k in kinds if k in recording.repairs), "other")


def notes_to_be_had(counts: dict[str, int | None], data: bytes) -> float:
    """The most notes that any reader finds, and no fewer than ours would be without the damage.

    Where ours stopped at some damage, its notes are scaled by the share of the file's bytes that
    it did not read.
    """
    try:
        lost = read_midi(data).repairs.get("lost_byte", 0) / len(data)
    except UnreadableMidi:
        lost = 0.0
    scaled = (counts["lakhxl"] or 0) / max(1 - lost, 0.01)
    return max(scaled, *(count or 0 for count in counts.values()))


def saved(corpus: Path) -> None:
    warnings.simplefilter("ignore")
    rows = defaultdict(list)
    for path, data in contents(corpus / "damaged").items():
        kind = "valid" if "Valid" in path.parts else path.parent.name
        counts = {name: notes_or_none(read, data) for name, read in READERS.items()}
        rows[f"damaged: {kind}"].append((counts, notes_to_be_had(counts, data)))
    for data in contents(corpus / "songs").values():
        if None in (notes_or_none(count_symusic, data), notes_or_none(count_mido, data)):
            counts = {name: notes_or_none(read, data) for name, read in READERS.items()}
            rows[kind_of(data)].append((counts, notes_to_be_had(counts, data)))
    print("| kind | files | with notes | " + " | ".join(READERS) + " |")
    print("|---|---:|---:|" + "---:|" * len(READERS))
    for kind, files in sorted(rows.items()):
        print(table_row(kind, files))
    every = [pair for files in rows.values() for pair in files]
    print(table_row("all", every))
    refused = [pair for pair in every if None in (pair[0]["mido"], pair[0]["symusic"])]
    print(table_row("all that mido or symusic refuse", refused))


def table_row(kind: str, files: list[tuple[dict[str, int | None], float]]) -> str:
    """How many files there are, how many hold notes, and how many of these each reader saves."""
    some = [(counts, most) for counts, most in files if most]
    good = [sum((counts[name] or 0) >= ENOUGH * m for counts, m in some) for name in READERS]
    return f"| {kind} | {len(files)} | {len(some)} | " + " | ".join(map(str, good)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "saved"])
    what = parser.parse_args().what
    corpus = Path(os.environ["LAKHXL_CORPUS"])
    print(f"{platform.machine()}, Python {platform.python_version()}")
    warm_up()
    {"speed": speed, "saved": saved}[what](corpus)


if __name__ == "__main__":
    main()
