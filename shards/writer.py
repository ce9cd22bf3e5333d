"""Write the files of a dataset so that each appears whole or not at all.

A file is written under a temporary name that holds the process id, flushed to disk and renamed.
A killed run leaves at most a `.tmp` file, which finalizing the dataset removes.
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

Write = Callable[[BinaryIO], object]
"""Writes a file's content; what it returns is ignored."""
Publish = Callable[[Path, Write], str]
"""Writes a file at a path; returns the sha256 of its content."""


def publish(path: Path, write: Write) -> str:
    """Write one file, all or nothing; returns the sha256 of its content."""
    with Publication() as publication:
        return publication.publish(path, write)


def temporary_name(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


class Publication:
    """Files that are published together: all are written, then flushed, then renamed in order.

    The flush waits for the disk once, at the end of the `with` block. If the block fails, no file
    gets its final name; if the end fails, only the first ones may have theirs.
    """

    def __init__(self) -> None:
        self._written: dict[Path, Path] = {}

    def publish(self, path: Path, write: Write) -> str:
        """Write one file under its temporary name; returns the sha256 of its content.

        A link stands for the file that it leads to.
        """
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        temporary = temporary_name(path)
        self._written[temporary] = path
        try:
            with temporary.open("wb") as file:
                write(file)
        except OSError as error:
            error.filename = str(path)  # a full disk names no file, others the temporary one
            raise
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
    """Wait until the system has written a file, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish_folder(partial: Path, folder: Path) -> None:
    """Give a finished folder its final name, and wait until the rename is on disk."""
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
        folder: an existing folder.
        shard: the shard's number.
        songs: in order; if empty, no file is written.
        step_dtype: of the `steps` array.
        publish: writes the files, at once or, here and below, as part of a `Publication`.

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
    """np.save for one dimension, but a full disk raises the system's own clear error."""
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
    """The exact text that `write_json` writes."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str, publish: Publish = publish) -> str:
    """Write a text in UTF-8; returns its sha256."""
    return publish(path, lambda file: file.write(text.encode()))


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write dataset.json, the last file of a dataset, with a checksum of its own content."""
    write_json(folder / MANIFEST, {**manifest, "checksum": manifest_checksum(manifest)})


def manifest_checksum(manifest: dict[str, Any]) -> str:
    """sha256 of the manifest's content without its checksum field, whatever the white space."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
