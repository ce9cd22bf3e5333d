"""Are copies found, is anything else taken for one, and how long do 180,000 songs take?

    python -m benchmarks.duplicates recall CORPUS               songs edited thirteen ways
    python -m benchmarks.duplicates merges CORPUS TITLES.csv    what titles don't explain
    python -m benchmarks.duplicates splits CORPUS               what moves as files are added
    python -m benchmarks.duplicates scale CORPUS                180,000 signatures

An edit (benchmarks/midi_edits.py) is made on the file's bytes; what comes of it is what
`pipeline run` makes of a file: read, judged, encoded, and clustered together with all
originals. TITLES.csv has the columns rel, a file's path from CORPUS, and old_title. Signatures
for scale are drawn from the real ones: a third copies, the others with places of their own,
two in a hundred of them from other songs.
"""

import csv
import re
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus import midi_files
from benchmarks.midi_edits import EDITS, NotSimple, read, write
from pipeline.config import DataSettings, IngestSettings
from pipeline.duplicates.clusters import clusters
from pipeline.duplicates.fingerprint import PLACES, skyline
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.splits import SplitSettings, splits
from pipeline.midi import read_midi
from pipeline.running.slice_task import FileProcessor, warm_up
from pipeline.sources.listing import SourceFile

SONGS, EVERY, HALVES = 180_000, 6, 50
Row = dict[str, Any]


def songs_of(corpus: Path) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every file of the corpus."""
    for path in midi_files(corpus):
        yield str(path.relative_to(corpus)), path.read_bytes()


class Rows:
    """Makes index rows of files, as a run would."""

    def __init__(self) -> None:
        warm_up()
        self._processor = FileProcessor(DataSettings(ingest=IngestSettings(round_trip_check=0)))
        self._folder = tempfile.TemporaryDirectory()

    def of(self, name: str, data: bytes) -> Row | None:
        """The index row of a file with its signature; None where it is not kept."""
        path = Path(self._folder.name, "song.mid")
        path.write_bytes(data)
        return self._processor.process(SourceFile(name, str(path))).index


def clustered(rows: Sequence[Row]) -> np.ndarray:
    """The cluster of each row, at the default settings."""
    columns = ([row[name] for row in rows] for name in ("md5", "music", "signature"))
    return clusters(*columns, DuplicateSettings())


def recall(corpus: Path) -> None:
    """Print by edit how many edited songs are in one cluster with their originals."""
    random, make = np.random.default_rng(0), Rows()
    originals, simple = [], []
    for name, data in songs_of(corpus):
        row = make.of(name, data)
        if row is None:
            continue
        originals.append(row)
        if len(originals) % EVERY == 0:
            try:
                simple.append((len(originals) - 1, read(data)))
            except NotSimple:
                continue
    print(f"{len(originals)} songs, {len(simple)} of them edited")
    print("| edit | files | kept by the rules | found |\n|---|---|---|---|")
    for title, edit in EDITS.items():
        edited = [(n, make.of(f"{n}", write(edit(file, random)))) for n, file in simple]
        kept = [(n, row) for n, row in edited if row is not None]
        found = clustered([*originals, *(row for _, row in kept)])
        known = [found[n] == found[len(originals) + k] for k, (n, _) in enumerate(kept)]
        share = f"{sum(known)} ({100 * np.mean(known):.1f} %)"
        print(f"| {title} | {len(simple)} | {len(kept)} | {share} |", flush=True)


def same_title(one: str, other: str) -> bool:
    """Whether two names of files say one song: without case, numbering and the artist's words."""
    titles = [re.sub(r"\(\d\)|\.mid|[^a-z0-9]", "", name.lower()) for name in (one, other)]
    return titles[0] == titles[1] != ""


def lines_of(data: bytes) -> list[list[tuple[int, int]]]:
    """By part the skyline's steps: eighths of a beat to the next note, and semitones."""
    recording = read_midi(data)
    fields = (recording.notes[name].copy() for name in ("start", "channel", "pitch", "is_drum"))
    line, begin = skyline(*fields)
    parts = [line[:, a:b] for a, b in pairwise(begin.tolist()) if b - a > 1]
    beat = recording.ticks_per_beat
    times = [(16 * np.diff(part[0]) + beat) // (2 * beat) for part in parts]
    moves = [np.diff(part[1]) for part in parts]
    return [[*zip(t.tolist(), m.tolist(), strict=True)] for t, m in zip(times, moves, strict=True)]


def longest_run(one: list[list], other: list[list]) -> list[tuple[int, int]]:
    """The longest series of steps that a part of each has; the fingerprint knows none of it."""

    def runs(parts: list[list], length: int) -> set[tuple]:
        return {tuple(p[n : n + length]) for p in parts for n in range(len(p) - length + 1)}

    found, low, high = (), 0, max(map(len, one), default=0)
    while low < high:
        length = (low + high + 1) // 2
        shared = runs(one, length) & runs(other, length)
        if shared:
            found, low = min(shared), length
        else:
            high = length - 1
    return [*found]


def merges(corpus: Path, titles: Path) -> None:
    """Print each pair of different files in one cluster whose titles differ, and what they share.

    That is the longest run of steps of one part's skyline that both have, and how many of them
    change the pitch: a copy has hundreds, two songs in even eighths on one chord two dozens
    without a change.
    """
    with titles.open(encoding="utf-8", newline="") as file:
        title = {row["rel"]: row["old_title"] for row in csv.DictReader(file)}
    make = Rows()
    rows = [row for name, data in songs_of(corpus) if (row := make.of(name, data)) is not None]
    rows = list({row["md5"]: row for row in rows}.values())
    members = defaultdict(list)
    for row, cluster in zip(rows, clustered(rows).tolist(), strict=True):
        members[cluster].append(row)
    print("| title | the other | signatures agree | run, changes of pitch | files |")
    print("|---|---|---|---|---|")
    pairs = [pair for together in members.values() for pair in combinations(together, 2)]
    for one, other in pairs:
        names = title[one["path"]], title[other["path"]]
        if same_title(*names):
            continue
        alike = "no signature"
        if one["signature"] is not None and other["signature"] is not None:
            alike = f"{np.mean(one['signature'] == other['signature']):.2f}"
        paths = [corpus / row["path"] for row in (one, other)]
        run = longest_run(*(lines_of(path.read_bytes()) for path in paths))
        shared = f"{len(run)}, {sum(move != 0 for _, move in run)}"
        files = ", ".join(path.stem for path in paths)
        print(f"| {names[0]} | {names[1]} | {alike} | {shared} | {files} |")
    every = len(rows) * (len(rows) - 1) // 2
    print(f"\n{len(rows)} different files, {every} pairs, {len(pairs)} in one cluster")


def moved_by(
    rows: Sequence[Row], earlier: Sequence[int], settings: SplitSettings, *, keep: bool
) -> tuple[int, int]:
    """Songs of an earlier dataset whose split another one of all rows changes.

    Args:
        rows: all.
        earlier: those that the earlier dataset was made of.
        settings: of both.
        keep: as with `--keep-splits`.

    Returns:
        How many moved, and how many did so although no clusters of theirs merged.
    """
    before = [rows[n] for n in earlier]
    were = splits([row["anchor"] for row in before], clustered(before), settings)
    known = dict(zip(earlier, were, strict=True))
    found = clustered(rows)
    kept = [known.get(n) for n in range(len(rows))] if keep else None
    now = splits([row["anchor"] for row in rows], found, settings, kept)
    joined = defaultdict(set)
    for n, cluster in zip(earlier, clustered(before).tolist(), strict=True):
        joined[found[n]].add(cluster)
    moved = [n for n in earlier if now[n] != known[n]]
    return len(moved), sum(len(joined[found[n]]) == 1 for n in moved)


def splits_as_files_come(corpus: Path) -> None:
    """Print how many songs of random halves lie in another split once all files are there.

    Each half draws by a salt of its own: one draw of so few clusters of copies says little.
    """
    random, make = np.random.default_rng(0), Rows()
    rows = [row for name, data in songs_of(corpus) if (row := make.of(name, data)) is not None]
    totals = {keep: np.zeros(2, np.int64) for keep in (False, True)}
    for half in range(HALVES):
        settings = SplitSettings(split_salt=str(half))
        earlier = np.flatnonzero(random.random(len(rows)) < 0.5).tolist()
        for keep, total in totals.items():
            total += moved_by(rows, earlier, settings, keep=keep)
    for keep, (moved, unmerged) in totals.items():
        print(f"{'with' if keep else 'without'} --keep-splits: {moved / HALVES:.2f} of "
              f"{len(rows) / 2:.0f} songs move, {unmerged / HALVES:.2f} of them although no "
              f"clusters merge; mean of {HALVES} halves")  # fmt: skip


def scale(corpus: Path) -> None:
    """Print time and memory of clustering 180,000 songs."""
    random, make = np.random.default_rng(0), Rows()
    rows = [row for name, data in songs_of(corpus) if (row := make.of(name, data)) is not None]
    real = np.stack([row["signature"] for row in rows if row["signature"] is not None])
    many = real[random.integers(0, len(real), SONGS)]
    own = np.flatnonzero(random.random(SONGS) < 0.67)
    for place in range(PLACES):
        drawn = random.integers(0, 1 << 16, len(own))
        borrowed = real[random.integers(0, len(real), len(own)), place]
        many[own, place] = np.where(random.random(len(own)) < 0.02, borrowed, drawn)
    names = [str(number) for number in range(SONGS)]
    began = time.perf_counter()
    found = clusters(names, names, list(many), DuplicateSettings())
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{SONGS} songs, {found.max() + 1} clusters: {seconds:.1f} s, peak {peak:.0f} MB")


if __name__ == "__main__":
    {"recall": recall, "merges": merges, "splits": splits_as_files_come, "scale": scale}[
        sys.argv[1]
    ](*map(Path, sys.argv[2:]))
