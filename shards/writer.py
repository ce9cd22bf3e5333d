"""Write the files of a dataset so that each appears whole or not at all.

A file is written under a name of this process's own, flushed to the disk, and renamed; a run
that is killed leaves at most a `.tmp` file, which finishing the dataset removes.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from shards.codec import EncodedSong
from shards.layout import MANIFEST, array_dtypes, array_file


def publish(path: Path, write: Callable[[BinaryIO], None]) -> str:
    """Write a file by `write`, all or nothing; returns the sha256 of what was written."""
    with Publication() as publication:
        return publication.publish(path, write)


Publish = Callable[[Path, Callable[[BinaryIO], None]], str]
"""A path and what writes the file, to the sha256 of what was written."""


class Publication:
    """Files that are published together: all are written, then flushed, then renamed in order.

    The disk is waited for once, at the end of the `with` block, and not file by file. Where that
    fails, or the block does, no file of it has its name, or the first ones have.
    """

    def __init__(self) -> None:
        self._written: dict[Path, Path] = {}

    def publish(self, path: Path, write: Callable[[BinaryIO], None]) -> str:
        """Write a file by `write`; returns the sha256 of what was written."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        self._written[temporary] = path
        with temporary.open("wb") as file:
            write(file)
        return checksum(temporary)

    def __enter__(self) -> "Publication":
        return self

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                for temporary in self._written:
                    _flush(temporary)
                for temporary, path in self._written.items():
                    temporary.replace(path)
        finally:
            for temporary in self._written:
                temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the system write a file, or a folder's names, to the disk; returns when it has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish_folder(partial: Path, folder: Path) -> None:
    """Give a finished folder its final name, and make the rename last through a power cut."""
    partial.rename(folder)
    _flush(folder.parent)


def checksum(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_shard(
    folder: Path,
    shard: int,
    songs: Sequence[EncodedSong],
    step_dtype: np.dtype,
    publish: Publish = publish,
) -> dict[str, str]:
    """Write the five arrays of one shard, its songs end to end.

    Args:
        folder: where; must exist.
        shard: the shard's number.
        songs: in order; none at all writes no file.
        step_dtype: of the `steps` array.
        publish: how, here and below: at once, or with the other files of a `Publication`.

    Returns:
        File name -> sha256, of the files written.
    """
    if not songs:
        return {}
    checksums = {}
    for array, dtype in array_dtypes(step_dtype).items():
        joined = np.concatenate([getattr(song, array) for song in songs]).astype(dtype, copy=False)
        name = array_file(array, shard)
        checksums[name] = publish(folder / name, lambda file, data=joined: _save_array(file, data))
    return checksums


def _save_array(file: BinaryIO, array: np.ndarray) -> None:
    """np.save of one dimension; but a full disk is told as what it is, where np.save is vague."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


def write_table(path: Path, table: pa.Table, publish: Publish = publish) -> str:
    """Write an Arrow IPC file that can be memory-mapped; returns its sha256."""

    def write(file: BinaryIO) -> None:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    return publish(path, write)


def write_json(path: Path, data: Any, publish: Publish = publish) -> str:
    """Write JSON for people and programs; returns its sha256."""
    return write_text(path, json_text(data), publish)


def json_text(data: Any) -> str:
    """The one text that `write_json` writes of data."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str, publish: Publish = publish) -> str:
    """Write a text in UTF-8; returns its sha256."""
    return publish(path, lambda file: file.write(text.encode()) and None)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write dataset.json with a checksum of its own; the last file of a dataset."""
    write_json(folder / MANIFEST, {**manifest, "checksum": manifest_checksum(manifest)})


def manifest_checksum(manifest: dict[str, Any]) -> str:
    """sha256 of the manifest's content, whatever the white space; its own field left out."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
