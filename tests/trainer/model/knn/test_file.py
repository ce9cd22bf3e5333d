"""The kNN memory on disk: restored bit for bit, or refused."""

import json
import os

import numpy as np
import pytest
import torch

from shards.errors import LakhxlError
from trainer.model.knn import file as knn_file
from trainer.model.knn.store import Store

SETTINGS = {"d_model": 16, "knn_layer": 1}
H, N, E = 2, 12, 8


def fresh():
    return Store.empty(lanes=2, heads=H, capacity=N, head_width=E, length=4, layer=0)


def filled():
    """Lane 0 has seven slots in use; lane 1's ring is full and has wrapped."""
    generator = torch.Generator().manual_seed(0)
    store = fresh()
    for segment_ids in (
        torch.tensor([[3] * 6 + [4] * 4, [5] * 10]),
        torch.tensor([[4] * 3, [5] * 3]),
    ):
        keys = torch.randn(2, H, segment_ids.shape[1], E, generator=generator)
        bars = torch.zeros_like(segment_ids)
        store = store._replace(memory_bars=bars.int(), memory_keys=keys)
        store = store.truncate(keys, segment_ids, 0).flush()
    return store


def resumed(store):
    """An empty store with the small tensors of a checkpoint."""
    return fresh()._replace(segment_id=store.segment_id, count=store.count)


@pytest.fixture
def saved(tmp_path):
    store = filled()
    path = knn_file.store_file(tmp_path, 7)
    return path, store, knn_file.save(path, store, SETTINGS)


def test_slots_in_use_are_restored_bit_for_bit(saved):
    path, store, checksum = saved
    assert store.stored.tolist() == [7, 12]
    again = resumed(store)
    knn_file.load(path, again, SETTINGS, checksum)
    for lane, used in enumerate(store.stored.tolist()):
        assert torch.equal(again.keys[lane, :, :used], store.keys[lane, :, :used])
        assert torch.equal(again.values[lane, :, :used], store.values[lane, :, :used])
    assert not list(path.parent.glob("*.tmp"))


def test_numpy_opens_the_file_as_documented(saved):
    path, store, _ = saved
    with path.open("rb") as file:
        line = file.readline()
    header = json.loads(line)
    offset = -(-len(line) // 4096) * 4096
    table = np.memmap(path, header["dtype"], "r", offset, tuple(header["shape"]))
    assert table.shape == (2, H, N, 2, E)
    assert np.array_equal(table[1, 0, 3, 0], store.keys[1, 0, 3].half().numpy())
    assert np.array_equal(table[1, 0, 3, 1], store.values[1, 0, 3].half().numpy())


def test_unused_slots_take_no_disk(tmp_path):
    store = Store.empty(lanes=2, heads=H, capacity=100_000, head_width=E, length=0, layer=0)
    path = knn_file.store_file(tmp_path, 0)
    knn_file.save(path, store, SETTINGS)
    assert path.stat().st_size > 10_000_000
    assert path.stat().st_blocks * 512 < 100_000


def assert_refused(path, store, checksum, match, settings=SETTINGS):
    with pytest.raises(LakhxlError, match=match):
        knn_file.load(path, resumed(store), settings, checksum)


def test_a_named_pipe_or_a_header_without_end_is_refused(saved):
    path, store, checksum = saved
    path.write_bytes(b"[" * 9_999)
    assert_refused(path, store, checksum, "is not a kNN memory")
    path.unlink()
    os.mkfifo(path)
    assert_refused(path, store, checksum, "is a named pipe; expected a plain file")


def test_a_file_of_other_settings_is_refused(saved):
    assert_refused(*saved, "another run or step: its settings", {**SETTINGS, "knn_layer": 2})


def test_a_file_of_another_step_is_refused(saved):
    path, store, checksum = saved
    assert_refused(path, store._replace(count=store.count + 1), checksum, "its count is")
    later = filled()
    later.keys[0, 0, 0] += 1  # the same counts, as in another epoch
    knn_file.save(path, later, SETTINGS)
    assert_refused(path, store, checksum, "was changed since its checkpoint")


def test_a_damaged_file_is_refused(saved):
    path, store, checksum = saved
    content = bytearray(path.read_bytes())
    content[4096 + 5] ^= 1
    path.write_bytes(content)
    assert_refused(path, store, checksum, "was changed since its checkpoint")
    path.write_bytes(content[:5000])
    assert_refused(path, store, checksum, "is truncated")
    path.write_bytes(b"something else\n" * 1000)
    assert_refused(path, store, checksum, "is not a kNN memory")
    path.write_bytes(b"3\n" * 9000)
    assert_refused(path, store, checksum, "another run")
    path.unlink()
    assert_refused(path, store, checksum, "is missing")


def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(knn_file.os, "fsync", full)
    path = knn_file.store_file(tmp_path, 7)
    with pytest.raises(LakhxlError, match=r"cannot be written .* No space left"):
        knn_file.save(path, filled(), SETTINGS)
    assert not list(tmp_path.iterdir())


def test_files_of_deleted_checkpoints_are_deleted(tmp_path):
    names = [knn_file.store_file(tmp_path, step).name for step in (1, 2, 3)]
    for name in [*names, "step-00000002.safetensors"]:
        (tmp_path / name).touch()
    knn_file.drop_orphans(tmp_path, {2})
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [names[1], "step-00000002.safetensors"]
