"""The kNN memory on disk: one file per checkpoint, which numpy can memory-map.

    knn-00001000.bin      the store after step 1,000

A header, one line of JSON padded to whole pages of 4,096 bytes, then the array

    [lanes, heads, capacity, 2, head width]      float16; key and value of a slot side by side

Unused slots are holes in the file, so it takes only as much disk as is stored. The file is written
atomically before its checkpoint, which records its checksum over header and slots in use. A file of
another step, run or setting, or a damaged one, has another header or checksum and is refused.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from shards.errors import LakhxlError
from shards.plain_file import open_plain, parse_json
from trainer.model.knn.store import STORED_AS, Store

VERSION = 1
PAGE = 4096
MAX_HEADER, HEADER_DEPTH = 2**22, 2
"""Bounds of the header: two numbers per lane, of at most 65,536."""
DTYPE = np.dtype(np.float16)
assert torch.from_numpy(np.zeros(1, DTYPE)).dtype is STORED_AS


def store_file(folder: Path, step: int) -> Path:
    """Path of the file of a step."""
    return folder / f"knn-{step:08d}.bin"


def drop_orphans(folder: Path, steps: set[int]) -> None:
    """Delete the files of all steps but these: those of deleted checkpoints."""
    for path in folder.glob("knn-*.bin"):
        if int(path.stem.split("-")[-1]) not in steps:
            path.unlink()


def settings_hash(settings: Any) -> str:
    """Sixteen hex digits of a hash of settings, which are plain data."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def save(path: Path, store: Store, settings: Any) -> str:
    """Write a store atomically.

    Args:
        path: of `store_file`.
        store: flushed; on any device.
        settings: must be equal where the file is read; plain data.

    Returns:
        The checksum.

    Raises:
        LakhxlError: the file cannot be written, as when the disk is full; no file is left behind.
    """
    header = _header(store, settings)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(header)
            file.truncate(len(header) + DTYPE.itemsize * int(np.prod(_shape(store))))
        table = _table(temporary, len(header), _shape(store), "r+")
        for lane, used in enumerate(store.stored.tolist()):
            table[lane, :, :used, 0] = _to_numpy(store.keys[lane, :, :used])
            table[lane, :, :used, 1] = _to_numpy(store.values[lane, :, :used])
        table.flush()
        checksum = _checksum(header, table, store.stored.tolist())
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LakhxlError(f"{path}: the kNN memory cannot be written ({error})") from error
    return checksum


def load(path: Path, store: Store, settings: Any, checksum: str) -> None:
    """Load a store's keys and values from the file that `save` wrote.

    Args:
        path: of `store_file`.
        store: of the shape, segment_id and count that were saved; its slots are written.
        settings: of the resumed run.
        checksum: recorded in the checkpoint.

    Raises:
        LakhxlError: the file is missing, damaged, or of another run or step.
    """
    try:
        with open_plain(path) as file:
            found = parse_json(file.readline(MAX_HEADER).decode(), HEADER_DEPTH)
    except FileNotFoundError:
        raise LakhxlError(
            f"{path} is missing, but the checkpoint beside it needs it: restore it, or resume "
            "from another checkpoint"
        ) from None
    except (OSError, ValueError) as error:
        raise LakhxlError(f"{path} is not a kNN memory ({error})") from error
    header = _header(store, settings)
    expected = json.loads(header)
    for name, value in expected.items():
        if not isinstance(found, dict) or found.get(name) != value:
            other = found.get(name) if isinstance(found, dict) else None
            raise LakhxlError(
                f"{path} belongs to another run or step: its {name} is {other}, "
                f"the checkpoint expects {value}"
            )
    try:
        table = _table(path, len(header), _shape(store), "r")
    except (OSError, ValueError) as error:
        raise LakhxlError(f"{path} is truncated ({error})") from error
    if _checksum(header, table, store.stored.tolist()) != checksum:
        raise LakhxlError(
            f"{path} was changed since its checkpoint: its checksum is not {checksum[:16]}; "
            "restore the original, or resume from another checkpoint"
        )
    for lane, used in enumerate(store.stored.tolist()):
        for column, stored in enumerate((store.keys, store.values)):
            saved = torch.from_numpy(np.array(table[lane, :, :used, column]))
            stored[lane, :, :used] = saved.to(stored.device, stored.dtype)


def _header(store: Store, settings: Any) -> bytes:
    content = {
        "version": VERSION,
        "settings": settings_hash(settings),
        "shape": _shape(store),
        "dtype": DTYPE.name,
        "segment_id": store.segment_id.tolist(),
        "count": store.count.tolist(),
    }
    line = json.dumps(content).encode() + b"\n"
    return line.ljust(-(-len(line) // PAGE) * PAGE)


def _shape(store: Store) -> list[int]:
    lanes, heads, rows, width = store.keys.shape
    return [lanes, heads, rows - 1, 2, width]


def _table(path: Path, offset: int, shape: list[int], mode: Literal["r", "r+"]) -> np.memmap:
    return np.memmap(path, DTYPE, mode, offset, tuple(shape))


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.to("cpu", STORED_AS).numpy()


def _checksum(header: bytes, table: np.ndarray, used: list[int]) -> str:
    digest = hashlib.sha256(header)
    for lane, slots in enumerate(used):
        for head in range(table.shape[1]):
            digest.update(np.ascontiguousarray(table[lane, head, :slots]).data)
    return digest.hexdigest()
