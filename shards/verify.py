"""Check that a dataset is whole: every file by its checksum, every song by encoding it again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from shards import check
from shards.errors import LakhxlError, ShardError
from shards.layout import (
    ARRAYS,
    INDEX,
    LEDGER,
    MANIFEST,
    REPORT,
    REPORT_PAGE,
    VOCABULARY,
    array_file,
)
from shards.mapped_files import is_plain_file
from shards.reader import Dataset, find_dataset, read_manifest
from shards.writer import checksum, json_text, manifest_checksum

MAX_FILE_BYTES = 1 << 36
"""Of a file that is hashed. The index of 34 million songs, more than a dataset holds, takes a third
of it; a sparse file of terabytes takes no room, but hours."""


def verify(
    path: Path | str,
    expect: Callable[[int], object] = lambda songs: None,
    advance: Callable[[int], object] = lambda songs: None,
) -> Iterator[str]:
    """Yield one sentence per fault of a dataset, naming the file; none if it is whole.

    Args:
        path: as for `open_dataset`.
        expect: called once with the number of songs to check, for a progress bar.
        advance: called with 1 after each song.

    Raises:
        ShardError: there is no dataset, or its manifest cannot be read.
    """
    folder = find_dataset(path)
    faults = list(_file_faults(folder))
    yield from faults
    if faults:
        return  # the checks below would only find the same damage again
    try:
        dataset = Dataset(folder)
        expect(len(dataset))
        yield from _table_faults(dataset)
        yield from _song_faults(dataset, advance)
    except LakhxlError as error:
        yield str(error)


def _file_faults(folder: Path) -> Iterator[str]:
    manifest = read_manifest(folder)
    own = manifest.get("checksum") == manifest_checksum(manifest)
    if not own or (folder / MANIFEST).read_bytes() != json_text(manifest).encode(errors="replace"):
        yield f"{folder / MANIFEST} does not have the checksum that it states"
        return
    files = manifest["files"]
    for name, expected in files.items():
        path = folder / name
        if not path.is_symlink() and not path.exists():
            yield f"{path} is missing"
        elif not is_plain_file(path):
            yield f"{path} is not a plain file"
        elif (size := path.stat().st_size) > MAX_FILE_BYTES:
            yield f"{path} has {size:,} bytes, more than any file of a dataset"
        elif (found := checksum(path)) != expected:
            yield f"{path} has sha256 {found[:12]}…, {MANIFEST} expects {expected[:12]}…"
    for path in sorted(folder.iterdir()):
        if path.name not in files and path.name != MANIFEST:
            yield f"{path} is not a file of the dataset"


def _table_faults(dataset: Dataset) -> Iterator[str]:
    """Compare the manifest's counts and list of files with the tables."""
    for fault in check.split_faults(dataset.index):
        yield f"{dataset.path / INDEX}: {fault}"
    found, files = check.counts(dataset.index, dataset.ledger()), dataset.manifest["files"]
    for name, stated in dataset.manifest["counts"].items():
        if stated != found[name]:
            yield f"{MANIFEST} counts {name} {stated}, the tables hold {found[name]}"
    shards = np.unique(dataset.index["shard"].to_numpy()).tolist()
    arrays = {array_file(array, shard) for array in ARRAYS for shard in shards}
    expected = {VOCABULARY, INDEX, LEDGER, REPORT, REPORT_PAGE, *arrays}
    for name in sorted(expected - files.keys()):
        yield f"{MANIFEST} does not list {name}"
    for name in sorted(files.keys() - expected):
        yield f"{MANIFEST} lists {name}, which is not a file of the dataset"


def _song_faults(dataset: Dataset, advance: Callable[[int], object]) -> Iterator[str]:
    notes = dataset.index["notes"].to_numpy()
    last = None
    for number in range(len(dataset)):
        fault = _song_fault(dataset, number, int(notes[number]))
        if fault not in (None, last):  # all songs of a shard that cannot be read say the same
            yield fault
        last = fault
        advance(1)


def _song_fault(dataset: Dataset, number: int, notes: int) -> str | None:
    try:
        encoded = dataset.song(number)
    except ShardError as error:
        return str(error)
    fault = check.song_fault(encoded, dataset.codec)
    found = int(dataset.vocabulary.is_note(encoded.tokens).sum())
    if fault is None and found != notes:
        fault = f"{found} notes, {INDEX} says {notes}"
    return fault and f"{dataset.path}: song {number}: {fault}"
