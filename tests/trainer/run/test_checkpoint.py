import pytest
import safetensors.torch
import torch

from shards.errors import LakhxlError
from trainer.config import TrainConfig
from trainer.run import checkpoint
from trainer.training.optimizers import make_optimizers

STATE = {"step": 3, "best": None, "position": {"epoch": 1, "step": 2}}


def test_what_is_saved_is_loaded(tmp_path):
    tensors = {"a": torch.randn(2, 3).T, "b": torch.tensor(7), "c": torch.ones(1).bfloat16()}
    checkpoint.save(tmp_path / "x.safetensors", tensors, STATE)
    loaded, state = checkpoint.load(tmp_path / "x.safetensors")
    assert state == STATE
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert checkpoint.load(tmp_path / "x.safetensors", prefix="b")[0].keys() == {"b"}


def test_a_checkpoint_can_be_read_by_whom_the_umask_lets(tmp_path):
    (tmp_path / "other").touch()
    checkpoint.save(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, STATE)
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("size", [0, 5, 60, -1])
def test_a_damaged_checkpoint_is_named(tmp_path, size):
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"a": torch.zeros(50)}, STATE)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(LakhxlError, match=r"x\.safetensors is not a complete checkpoint"):
        checkpoint.load(path)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(LakhxlError, match="not a complete checkpoint"):
        checkpoint.load(tmp_path / "x.safetensors")


def test_a_save_that_fails_leaves_nothing_behind_and_the_old_one_alone(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"a": torch.zeros(5)}, STATE)

    def full(*_, **__):
        (tmp_path / "x.safetensors.tmp").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(LakhxlError, match=r"cannot be written.*No space left"):
        checkpoint.save(path, {"a": torch.ones(5)}, STATE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]
    assert checkpoint.load(path)[0]["a"].sum() == 0


def test_the_last_few_are_kept_and_the_best_always(tmp_path):
    for step in (5, 100, 20):
        checkpoint.save(checkpoint.step_file(tmp_path, step), {"a": torch.zeros(1)}, STATE)
    checkpoint.save(tmp_path / checkpoint.BEST, {"a": torch.zeros(1)}, STATE)
    (tmp_path / "step-00000101.safetensors.tmp").touch()
    checkpoint.drop_old(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "step-00000020.safetensors",
        "step-00000100.safetensors",
    ]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_an_optimizer_goes_on_where_it_was(make_model, name):
    models = [make_model(), make_model()]
    optimizers = [make_optimizers(model, TrainConfig(optimizer=name)) for model in models]

    def step(which):
        loss = sum(parameter.square().sum() for parameter in models[which].parameters())
        loss.backward()
        for optimizer in optimizers[which]:
            optimizer.step()
            optimizer.zero_grad()

    step(0)
    saved = {
        name: tensor.detach().clone()
        for name, tensor in {
            **checkpoint.model_tensors(models[0]),
            **checkpoint.optimizer_tensors(models[0], optimizers[0]),
        }.items()
    }
    checkpoint.load_model(models[1], saved)
    checkpoint.load_optimizers(models[1], optimizers[1], saved)
    step(0)
    step(1)
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_weights_of_another_configuration_are_refused(make_model):
    tensors = checkpoint.model_tensors(make_model(d_model=32))
    with pytest.raises(LakhxlError, match=r"has model\.embed\.token\.weight as \(\d+, 32\)"):
        checkpoint.load_model(make_model(), tensors)
