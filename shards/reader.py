"""Open a dataset: its index, and each song as read-only views of memory-mapped arrays.

Opening reads the manifest and the vocabulary and maps the index; a shard is mapped when its
first song is asked for.
"""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import pyarrow as pa

from shards import check, plain_file
from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError, ShardError
from shards.layout import (
    FORMAT_VERSION,
    INDEX,
    INDEX_SCHEMA,
    LEDGER,
    LEDGER_SCHEMA,
    MANIFEST,
    VOCABULARY,
    array_dtypes,
    array_file,
    is_dataset,
)
from shards.mapped_files import check_plain, map_array, read_table
from shards.song import Song
from shards.vocabulary import Vocabulary


def find_dataset(path: Path | str) -> Path:
    """The dataset at a path: the folder itself, or the only dataset inside it.

    Raises:
        ShardError: there is no such folder, or it holds no dataset, or several.
    """
    folder = Path(path)
    if not folder.is_dir():
        found = "is a file, not a folder" if folder.exists() else "no such folder"
        raise ShardError(f"{folder}: {found}; `pipeline run` makes a dataset")
    if is_dataset(folder):
        return folder
    inside = sorted(child for child in folder.iterdir() if is_dataset(child))
    if len(inside) == 1:
        return inside[0]
    if inside:
        names = ", ".join(str(child) for child in inside)
        raise ShardError(f"{folder} holds {len(inside)} datasets, name one: {names}")
    unfinished = [child for child in [folder, *folder.iterdir()] if child.suffix == ".partial"]
    hint = (
        f"{unfinished[0]} is not finished: run the same `pipeline run` again"
        if unfinished
        else "`pipeline run` makes one"
    )
    raise ShardError(f"{folder} holds no dataset ({MANIFEST} not found); {hint}")


def open_dataset(path: Path | str) -> "Dataset":
    """Open a dataset for reading.

    Args:
        path: the dataset's folder, or a folder that holds exactly one.

    Raises:
        ShardError: it is missing, of another format version, or a file of it is damaged.
    """
    return Dataset(find_dataset(path))


class SongSource(Protocol):
    """What training and evaluation need of a dataset: `Dataset`, or a twin in memory.

    Attributes:
        path: names the source in messages and in a run's settings.
        vocabulary, codec: turn tokens into songs.
        index: one row per song, `shards.layout.INDEX_SCHEMA`; a twin may have fewer columns.
        settings: of the pipeline, as in the manifest; None where they are not known.
    """

    path: Path
    vocabulary: Vocabulary
    codec: Codec
    index: pa.Table
    settings: dict[str, Any] | None

    def __len__(self) -> int: ...

    def song(self, number: int) -> EncodedSong:
        """The arrays of one song, by its row in the index."""
        ...


MAX_JSON_BYTES, MAX_JSON_DEPTH = 1 << 24, 16
"""Of one file. A manifest takes 500 bytes per shard; a report has 7 levels. Parsed, a file takes up
to 30 times its size."""

MAX_OPEN_SHARDS = 4096
"""Shards that stay mapped, five maps each. A process may have 65,530 maps (vm.max_map_count), and
songs that are in use keep theirs."""


class Dataset:
    """The kept songs of one pipeline run: `dataset[3]`, `dataset[:10]`, `for song in dataset`.

    It can be pickled; another process maps it again.

    Attributes:
        path: the folder.
        manifest: the contents of dataset.json.
        vocabulary, codec: turn tokens into songs.
        index: one row per song, `shards.layout.INDEX_SCHEMA`.
        settings: of the pipeline run, in groups, as in the manifest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity = self._stat_manifest()
        self.manifest = read_manifest(path)
        self.settings: dict[str, Any] | None = self.manifest.get("settings")
        self.vocabulary = read_vocabulary(path / VOCABULARY)
        if self.manifest["vocabulary_fingerprint"] != self.vocabulary.fingerprint:
            raise ShardError(
                f"{path / VOCABULARY} has fingerprint {self.vocabulary.fingerprint}, but "
                f"{MANIFEST} says {self.manifest['vocabulary_fingerprint']}: make the dataset again"
            )
        self.codec = Codec(self.vocabulary)
        self.index = read_table(path / INDEX, INDEX_SCHEMA)
        _refuse(path / INDEX, check.index_faults(self.index))
        self._rows_of = {
            column: self.index[column].to_numpy() for column in ("shard", "start", "stop")
        }
        self._has_checked = np.zeros(len(self), bool)
        self._arrays = lru_cache(MAX_OPEN_SHARDS)(self._open_shard)

    def __len__(self) -> int:
        return self.index.num_rows

    def __repr__(self) -> str:
        tokens = int((self._rows_of["stop"] - self._rows_of["start"]).sum())
        return f"<Dataset {str(self.path)!r}: {len(self):,} songs, {tokens:,} tokens>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Dataset, (self.path,)

    @overload
    def __getitem__(self, wanted: int) -> EncodedSong: ...
    @overload
    def __getitem__(self, wanted: slice) -> list[EncodedSong]: ...
    def __getitem__(self, wanted: int | slice) -> EncodedSong | list[EncodedSong]:
        numbers = range(len(self))
        if isinstance(wanted, slice):
            return [self.song(number) for number in numbers[wanted]]
        return self.song(wanted + len(self) if -len(self) <= wanted < 0 else wanted)

    def __iter__(self) -> Iterator[EncodedSong]:
        return map(self.song, range(len(self)))

    def song(self, number: int) -> EncodedSong:
        """The arrays of one song: read-only views, nothing is copied.

        Its ids are all in the vocabulary, so they may be used as indices; see `check.id_fault`,
        which is asked when a song is first read.

        Raises:
            IndexError: there is no such song.
            ShardError: its shard is missing, does not hold what the index expects, or holds ids
                beyond the vocabulary.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"song {number} of {len(self)}")
        shard = int(self._rows_of["shard"][number])
        start, stop = int(self._rows_of["start"][number]), int(self._rows_of["stop"][number])
        song = EncodedSong(*(array[start:stop] for array in self._arrays(shard)))
        if not self._has_checked[number]:
            if fault := check.id_fault(song, self.vocabulary):
                raise ShardError(f"{self.path}: song {number} is damaged ({fault}): make it again")
            self._has_checked[number] = True
        return song

    def _open_shard(self, shard: int) -> tuple[np.ndarray, ...]:
        """The five arrays of a shard, in the order of ARRAYS."""
        self._check_identity()
        last = int(np.searchsorted(self._rows_of["shard"], shard, side="right")) - 1
        length = int(self._rows_of["stop"][last])
        return tuple(
            map_array(self.path / array_file(name, shard), dtype, length)
            for name, dtype in array_dtypes(self.vocabulary.step_dtype).items()
        )

    def ledger(self) -> pa.Table:
        """One row per input file, `shards.layout.LEDGER_SCHEMA`.

        Raises:
            ShardError: it is missing, damaged, or does not belong to the index.
        """
        return self._ledger

    @cached_property
    def _ledger(self) -> pa.Table:
        self._check_identity()
        ledger = read_table(self.path / LEDGER, LEDGER_SCHEMA)
        _refuse(self.path / LEDGER, check.ledger_faults(ledger, self.index))
        return ledger

    def _check_identity(self) -> None:
        """Refuse to go on with the files of another dataset: they are opened when needed."""
        if self.was_replaced():
            raise ShardError(f"{self.path} was replaced while it was open: start again")

    def was_replaced(self) -> bool:
        """Whether the folder holds another dataset than when this was opened, or none."""
        return self._stat_manifest() != self._identity

    def _stat_manifest(self) -> tuple[int, ...]:
        try:
            found = (self.path / MANIFEST).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def decode_song(dataset: SongSource, number: int) -> Song:
    """Decode one song, and check that its arrays are what it encodes to.

    Raises:
        IndexError: there is no such song.
        ShardError: they are not, or see `Dataset.song`.
    """
    try:
        return check.checked_song(dataset.song(number), dataset.codec)
    except ValueError as error:
        raise ShardError(
            f"{dataset.path}: song {number} is damaged ({error}): make it again"
        ) from error


def _refuse(path: Path, faults: Iterator[str]) -> None:
    if fault := next(faults, None):
        raise ShardError(f"{path} is damaged ({fault}): make the dataset again")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The contents of dataset.json; refused where it is of another format version."""
    manifest = read_json(folder / MANIFEST)
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise ShardError(
            f"{folder / MANIFEST} has format version {version}, this program reads "
            f"{FORMAT_VERSION}: make the dataset again with `pipeline run`"
        )
    if fault := check.manifest_fault(manifest):
        raise ShardError(f"{folder / MANIFEST} is damaged ({fault}): make the dataset again")
    return manifest


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary in a vocabulary.json, of a dataset or of a run."""
    return Vocabulary.from_json(read_json(path), where=str(path))


def read_json(path: Path) -> Any:
    """The contents of a JSON file of a dataset."""
    try:
        check_plain(path)
        return plain_file.read_json(path, MAX_JSON_BYTES, MAX_JSON_DEPTH)
    except FileNotFoundError:
        raise ShardError(f"{path} is missing: the dataset is incomplete, make it again") from None
    except LakhxlError as error:
        raise ShardError(f"{error}: make the dataset again") from None
