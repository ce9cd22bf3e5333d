"""Duplicate detection: recall on edited songs, and false merges."""

import csv
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa

from benchmarks.arguments import Measurements, corpus_argument
from benchmarks.corpus import midi_files
from benchmarks.correctness.midi_edits import EDITS, NotSimple, read, write
from pipeline.config import DataSettings, IngestSettings
from pipeline.duplicates.audit import (
    MIN_NGRAMS,
    MIN_SHARE,
    MIN_SHARE_BACK,
    MIN_TOP_SHARE,
    bass_ngrams,
    top_share,
)
from pipeline.duplicates.clusters import clusters
from pipeline.duplicates.columns import numbers, signatures
from pipeline.duplicates.lines import lines
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.signature import KINDS, SIGNATURE
from pipeline.midi import read_midi
from pipeline.process_file import FileProcessor, warm_up
from pipeline.running.fragments import INDEX_FRAGMENT_SCHEMA
from pipeline.sources.listing import SourceFile

EVERY = 6
"""One kept song in so many is edited."""

Row = dict[str, Any]


command = Measurements(help=__doc__)


class Rows:
    """Makes index rows of files, as a run would."""

    def __init__(self) -> None:
        warm_up()
        self._processor = FileProcessor(DataSettings(ingest=IngestSettings(round_trip_check=0)))
        self._folder = tempfile.TemporaryDirectory()

    def of(self, name: str, data: bytes) -> Row | None:
        """The index row of a file with its signatures, and the song; None where it is not kept."""
        path = Path(self._folder.name, "song.mid")
        path.write_bytes(data)
        result = self._processor.process(SourceFile(name, str(path)))
        if result.index is None or result.encoded is None:
            return None
        return {**result.index, "song": self._processor.codec.decode(result.encoded)}

    def of_corpus(self, corpus: Path) -> Iterator[tuple[Row, bytes]]:
        """The row of every kept song of the corpus, and its file."""
        for path in midi_files(corpus):
            data = path.read_bytes()
            row = self.of(str(path.relative_to(corpus)), data)
            if row is not None:
                yield row, data


def audited(pairs: Sequence[tuple[Row, Row]]) -> str:
    """How many pairs of duplicates the audit would call a leak, of those that it can compare."""
    compared = seen = 0
    for one, other in pairs:
        ngrams, others = bass_ngrams(one["song"]), bass_ngrams(other["song"])
        if len(ngrams) >= MIN_NGRAMS:
            shared = len(np.intersect1d(ngrams, others, assume_unique=True))
            both = shared >= MIN_SHARE * len(ngrams) and shared >= MIN_SHARE_BACK * len(others)
            seen += both and top_share(one["song"], other["song"]) >= MIN_TOP_SHARE
            compared += 1
    return f"{seen} of {compared} ({100 * seen / max(compared, 1):.1f} %)"


def clustered(rows: Sequence[Row]) -> np.ndarray:
    """The cluster of each row, at the default settings."""
    table = pa.Table.from_pylist([*rows], INDEX_FRAGMENT_SCHEMA)
    exact = [numbers(table[name]) for name in ("md5", "music")]
    with tempfile.TemporaryDirectory() as folder:
        found = signatures(lambda: [table], len(rows), Path(folder))
        return clusters(exact, found, DuplicateSettings())


@command.command()
@corpus_argument
def recall(corpus: Path) -> None:
    """Print by edit how many edited songs are in one cluster with their originals.

    Beside it, how many the audit would recognize, of those with enough n-grams of the bass line.

    Every sixth song without a fault is edited in twenty ways, on the bytes of its file, and
    goes through the pipeline like any other.
    """
    random, rows = np.random.default_rng(0), Rows()
    originals, simple = [], []
    for row, data in rows.of_corpus(corpus):
        originals.append(row)
        if len(originals) % EVERY == 0:
            try:
                simple.append((len(originals) - 1, read(data)))
            except NotSimple:
                continue
    print(f"{len(originals)} songs, {len(simple)} of them edited")
    print("| edit | files | kept by the rules | found | seen by the audit |")
    print("|---|---|---|---|---|")
    for title, edit in EDITS.items():
        edited = [(n, rows.of(f"{n}", write(edit(file, random)))) for n, file in simple]
        kept = [(n, row) for n, row in edited if row is not None]
        cluster = clustered([*originals, *(row for _, row in kept)])
        found = [cluster[n] == cluster[len(originals) + k] for k, (n, _) in enumerate(kept)]
        share = f"{sum(found)} ({100 * np.mean(found):.1f} %)"
        seen = audited([(originals[n], row) for n, row in kept])
        print(f"| {title} | {len(simple)} | {len(kept)} | {share} | {seen} |", flush=True)


def same_title(one: str, other: str) -> bool:
    """Whether two titles are equal but for case, numbers in brackets and punctuation."""
    titles = [re.sub(r"\(\d\)|\.mid|[^a-z0-9]", "", name.lower()) for name in (one, other)]
    return titles[0] == titles[1] != ""


def agreement(one: bytes | None, other: bytes | None) -> str:
    """The share of bins in which two stored signatures agree."""
    if one is None or other is None:
        return "none"
    hashes = [np.frombuffer(stored, SIGNATURE)["hashes"] for stored in (one, other)]
    return f"{np.mean(hashes[0] == hashes[1]):.2f}"


Steps = list[tuple[int, int]]
"""Of a part's skyline: eighths of a beat to the next note, and semitones."""


def skylines(data: bytes) -> list[Steps]:
    """The steps of every part of a file."""
    recording = read_midi(data)
    line, begin, end, _ = lines(recording.notes)
    ranges = zip(begin.tolist(), end.tolist(), strict=True)
    parts = [line[:, a:b] for a, b in ranges if b - a > 1]
    beat = recording.ticks_per_beat
    times = [(16 * np.diff(part[0]) + beat) // (2 * beat) for part in parts]
    intervals = [np.diff(part[1]) for part in parts]
    return [
        [*zip(time.tolist(), interval.tolist(), strict=True)]
        for time, interval in zip(times, intervals, strict=True)
    ]


def longest_run(one: list[Steps], other: list[Steps]) -> Steps:
    """The longest series of steps that both songs have; the fingerprint does not use it."""

    def runs(parts: list[Steps], length: int) -> set[tuple]:
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


@command.command()
@corpus_argument
@click.argument("titles", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def merges(corpus: Path, titles: Path) -> None:
    """Print pairs of different files in one cluster whose titles differ, and what they share.

    TITLES is a CSV file with the columns rel, a path in CORPUS, and old_title. Shared is the
    longest run of steps of one part's skyline, and how many of them change the pitch: duplicates
    share hundreds, two songs in even eighths on one chord two dozen without a change.
    """
    with titles.open(encoding="utf-8", newline="") as file:
        title = {row["rel"]: row["old_title"] for row in csv.DictReader(file)}
    rows = list({row["md5"]: row for row, _ in Rows().of_corpus(corpus)}.values())
    members = defaultdict(list)
    for row, cluster in zip(rows, clustered(rows).tolist(), strict=True):
        members[cluster].append(row)
    print("| title | the other | melodies, top lines agree | run, changes of pitch | files |")
    print("|---|---|---|---|---|")
    pairs = [pair for cluster in members.values() for pair in combinations(cluster, 2)]
    for one, other in pairs:
        names = title[one["path"]], title[other["path"]]
        if same_title(*names):
            continue
        similarity = ", ".join(agreement(one[kind], other[kind]) for kind in KINDS)
        paths = [corpus / row["path"] for row in (one, other)]
        run = longest_run(*(skylines(path.read_bytes()) for path in paths))
        shared = f"{len(run)}, {sum(interval != 0 for _, interval in run)}"
        files = ", ".join(path.stem for path in paths)
        print(f"| {names[0]} | {names[1]} | {similarity} | {shared} | {files} |")
    every = len(rows) * (len(rows) - 1) // 2
    print(f"\n{len(rows)} different files, {every} pairs, {len(pairs)} in one cluster")
