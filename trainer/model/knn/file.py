"""The kNN memory on disk: one file a mode, that numpy opens as it lies.

    knn-train-00001000.bin      the store of mode train after step 1,000

A header, one line of JSON filled up to whole pages of 4,096 bytes, then the array

    [lanes, heads, capacity, 2, head width]      float16; key and value of a slot side by side

Slots that are not in use are holes: the file takes as much of the disk as there is to keep. It is
written all or nothing, before the checkpoint that it belongs to, and the checkpoint names its
seal: a checksum of header and slots in use. A file of another step, run or setting, or one that
is damaged, has another header or seal, and is refused.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shards.errors import LakhxlError
from trainer.model.knn.store import STORED_AS, Store

VERSION = 1
PAGE = 4096
DTYPE = np.dtype(np.float16)
assert torch.from_numpy(np.zeros(1, DTYPE)).dtype is STORED_AS


def database_file(folder: Path, mode: str, step: int) -> Path:
    """Where the file of a step lies; the mode is train, evaluate or generate."""
    return folder / f"knn-{mode}-{step:08d}.bin"


def drop_orphans(folder: Path, steps: set[int]) -> None:
    """Delete the files of all steps but these, as of checkpoints that were dropped."""
    for path in folder.glob("knn-*.bin"):
        if int(path.stem.split("-")[-1]) not in steps:
            path.unlink()


def settings_hash(settings: Any) -> str:
    """Sixteen hex digits that change with any of the settings, which are plain data."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def save(path: Path, store: Store, settings: Any) -> str:
    """Write a store, all or nothing.

    Args:
        path: of `database_file`.
        store: settled; on any device.
        settings: what must be the same where the file is read; plain data.

    Returns:
        The seal.

    Raises:
        LakhxlError: the file cannot be written, as when the disk is full; nothing is left.
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
        seal = _seal(header, table, store.stored.tolist())
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LakhxlError(f"{path}: the kNN memory cannot be written ({error})") from error
    return seal


def load(path: Path, store: Store, settings: Any, seal: str) -> None:
    """Fill a store's slots from the file that `save` wrote.

    Args:
        path: of `database_file`.
        store: of the shape, segment_ids and counts that were saved; its slots are written.
        settings: of the run that goes on.
        seal: of the checkpoint.

    Raises:
        LakhxlError: there is no such file, or it is foreign, stale or damaged.
    """
    try:
        with path.open("rb") as file:
            found = json.loads(file.readline())
    except FileNotFoundError:
        raise LakhxlError(
            f"{path} is missing, which the checkpoint beside it needs: bring it back, or go on "
            "from another checkpoint"
        ) from None
    except (OSError, ValueError) as error:
        raise LakhxlError(f"{path} is no kNN memory ({error})") from error
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
        raise LakhxlError(f"{path} is cut off ({error})") from error
    if _seal(header, table, store.stored.tolist()) != seal:
        raise LakhxlError(
            f"{path} is not as the checkpoint left it: its seal is not {seal[:16]}; bring the "
            "right one back, or go on from another checkpoint"
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


def _table(path: Path, offset: int, shape: list[int], mode: str) -> np.ndarray:
    return np.memmap(path, DTYPE, mode, offset, tuple(shape))


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.to("cpu", STORED_AS).numpy()


def _seal(header: bytes, table: np.ndarray, used: list[int]) -> str:
    digest = hashlib.sha256(header)
    for lane, slots in enumerate(used):
        for head in range(table.shape[1]):
            digest.update(np.ascontiguousarray(table[lane, head, :slots]))
    return digest.hexdigest()
