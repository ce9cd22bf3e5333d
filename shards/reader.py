"""Open a dataset: its index, and each song as read-only views of memory-mapped arrays.

Opening reads the manifest and the vocabulary and maps the index; a shard is mapped when its
first song is asked for.
"""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from shards.codec import Codec, EncodedSong
from shards.errors import ShardError
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
    """

    path: Path
    vocabulary: Vocabulary
    codec: Codec
    index: pa.Table

    def __len__(self) -> int: ...

    def song(self, number: int) -> EncodedSong:
        """The arrays of one song, by its row in the index."""
        ...


class Dataset:
    """The kept songs of one pipeline run. It can be pickled; another process maps it again.

    Attributes:
        path: the folder.
        manifest: the contents of dataset.json.
        vocabulary, codec: turn tokens into songs.
        index: one row per song, `shards.layout.INDEX_SCHEMA`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = read_manifest(path)
        self.vocabulary = read_vocabulary(path / VOCABULARY)
        self.codec = Codec(self.vocabulary)
        self.index = read_table(path / INDEX, INDEX_SCHEMA)
        self._rows_of = {
            column: self.index[column].to_numpy() for column in ("shard", "start", "stop")
        }
        self._dtypes = array_dtypes(self.vocabulary.step_dtype)
        self._shards: dict[int, dict[str, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.index.num_rows

    def __reduce__(self) -> tuple[Any, ...]:
        return Dataset, (self.path,)

    def song(self, number: int) -> EncodedSong:
        """The arrays of one song: read-only views, nothing is copied.

        Raises:
            IndexError: there is no such song.
            ShardError: its shard is missing, or does not hold what the index expects.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"song {number} of {len(self)}")
        shard = int(self._rows_of["shard"][number])
        start, stop = int(self._rows_of["start"][number]), int(self._rows_of["stop"][number])
        arrays = self._shards.get(shard) or self._open_shard(shard)
        return EncodedSong(**{name: array[start:stop] for name, array in arrays.items()})

    def _open_shard(self, shard: int) -> dict[str, np.ndarray]:
        expected = int(self._rows_of["stop"][self._rows_of["shard"] == shard].max())
        arrays = {
            name: map_array(self.path / array_file(name, shard), dtype, expected)
            for name, dtype in self._dtypes.items()
        }
        self._shards[shard] = arrays
        return arrays

    def ledger(self) -> pa.Table:
        """One row per input file, `shards.layout.LEDGER_SCHEMA`."""
        return read_table(self.path / LEDGER, LEDGER_SCHEMA)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The contents of dataset.json; refused where it is of another format version."""
    manifest = read_json(folder / MANIFEST)
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise ShardError(
            f"{folder / MANIFEST} has format version {version}, this program reads "
            f"{FORMAT_VERSION}: make the dataset again with `pipeline run`"
        )
    return manifest


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary in a vocabulary.json, of a dataset or of a run."""
    return Vocabulary.from_json(read_json(path), where=str(path))


def read_json(path: Path) -> Any:
    """The contents of a JSON file of a dataset."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ShardError(f"{path} is missing: the dataset is incomplete, make it again") from None
    except ValueError as error:
        raise ShardError(f"{path} is damaged ({error}): make the dataset again") from None


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Memory-map an Arrow file; refused where it has another schema."""
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
    except FileNotFoundError:
        raise ShardError(f"{path} is missing: the dataset is incomplete, make it again") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise ShardError(f"{path} is damaged ({error}): make the dataset again") from None
    if not table.schema.equals(schema):
        raise ShardError(f"{path} has other columns than format version {FORMAT_VERSION}")
    return table


def map_array(path: Path, dtype: np.dtype, length: int) -> np.ndarray:
    """Memory-map one array of a shard, read-only; refused where its type or length is another."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ShardError(f"{path} is missing: the dataset is incomplete, make it again") from None
    except (ValueError, EOFError, SyntaxError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ShardError(f"{path} is damaged ({reason}): make the dataset again") from None
    if array.dtype != dtype or array.shape != (length,):
        raise ShardError(
            f"{path} holds {array.shape} of {array.dtype}, but {INDEX} expects ({length},) of "
            f"{dtype}: the dataset is damaged, make it again"
        )
    return array.view(np.ndarray)
