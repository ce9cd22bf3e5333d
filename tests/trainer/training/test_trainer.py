import dataclasses

import numpy as np
import pytest
import torch

from shards.errors import LakhxlError
from trainer.run import checkpoint
from trainer.training import optimizers as optim
from trainer.training.trainer import Trainer, seeded

CPU = torch.device("cpu")


def with_train(config, **changes):
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


def everything(trainer):
    """All tensors of a checkpoint, copied."""
    return {name: tensor.detach().clone() for name, tensor in trainer.tensors().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert different == []


def losses(trainer, steps):
    return [float(trainer.train_step().loss) for _ in range(steps)]


@pytest.mark.parametrize("stopped_at", [0, 1, 9, 40])
def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(dataset, config, stopped_at):
    unbroken = Trainer(dataset, config, CPU)
    losses(unbroken, stopped_at)
    saved, state = everything(unbroken), dict(unbroken.state())
    expected = losses(unbroken, 10)
    torch.rand(7)  # other draws in between must not matter
    resumed = Trainer(dataset, config, CPU)
    if stopped_at:
        resumed.load(saved, state)
    assert losses(resumed, 10) == expected
    assert_same(everything(resumed), everything(unbroken))
    assert resumed.state() == unbroken.state()
    if stopped_at == 40:
        assert resumed.epoch > 2


def test_training_with_and_without_evaluation_is_bit_identical(dataset, config):
    looked_at, left_alone = Trainer(dataset, config, CPU), Trainer(dataset, config, CPU)
    for _ in range(8):
        looked_at.train_step()
        looked_at.evaluate(batches=2)
        looked_at.evaluate()
        left_alone.train_step()
    assert_same(everything(looked_at), everything(left_alone))


def test_evaluating_twice_gives_the_same_and_every_target_once(dataset, config):
    trainer, untouched = Trainer(dataset, config, CPU), Trainer(dataset, config, CPU)
    losses(trainer, 3)  # leaves a memory with the same segment ids
    checkpoint.load_model(untouched.model, trainer.tensors())
    first = trainer.evaluate()
    for again in (trainer.evaluate(), untouched.evaluate()):
        assert again.sums == first.sums
        assert torch.equal(again.by_position, first.by_position)
    assert first.sums.targets == sum(len(dataset.song(number)) - 1 for number in (6, 7))
    assert first.sums.notes == 29 + 33
    assert first.sums.instrument_targets == 14 + 16


def test_the_number_of_lanes_does_not_change_what_is_evaluated(dataset, config):
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, memory=200))
    scores = [
        Trainer(dataset, with_train(config, batch_size=batch, block_size=block), CPU)
        .evaluate()
        .sums
        for batch, block in [(1, 16), (3, 7), (2, 64)]
    ]
    assert len({int(score.targets) for score in scores}) == 1
    assert np.ptp([float(score.loss) for score in scores]) < 1e-6


def test_dropout_is_keyed_by_the_step_and_leaves_the_global_generator_alone(dataset, config):
    before = torch.get_rng_state()
    trainer = Trainer(dataset, config, CPU)
    trainer.train_step()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again = Trainer(dataset, config, CPU)
    again.train_step()
    assert_same(everything(trainer), everything(again))


def test_random_numbers_are_new_in_each_step_and_for_each_seed():
    drawn = []
    for seed, step in [(0, 0), (0, 0), (0, 1), (1, 0)]:
        with seeded([seed, step], CPU):
            drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_a_training_learns(dataset, config):
    config = dataclasses.replace(
        with_train(config, steps=120), model=dataclasses.replace(config.model, dropout=0.0)
    )
    trainer = Trainer(dataset, config, CPU)
    untrained = trainer.evaluate().means()["loss"]
    losses(trainer, 120)
    assert trainer.evaluate().means()["loss"] < 0.4 * untrained


def test_bf16_trains_and_keeps_a_bf16_memory(dataset, config):
    trainer = Trainer(dataset, with_train(config, precision="bf16"), CPU)
    assert np.isfinite(losses(trainer, 3)).all()
    assert trainer.memory.keys[0].dtype is torch.bfloat16
    assert all(parameter.dtype is torch.float32 for parameter in trainer.model.parameters())


def test_each_step_has_its_own_learning_rate(dataset, config):
    trainer = Trainer(dataset, config, CPU)
    used = []
    for _ in range(5):
        trainer.train_step()
        used.append({group["lr"] for group in trainer.optimizers[0].param_groups})
    assert used == [{optim.lr_at(step, config.train)} for step in range(5)]


def test_gradients_are_clipped(dataset, config):
    trainer = Trainer(dataset, with_train(config, grad_clip=1e-3), CPU)
    seen = []
    trainer.optimizers[0].register_step_pre_hook(
        lambda *_: seen.append(
            torch.stack([p.grad.square().sum() for p in trainer.model.parameters()]).sum().sqrt()
        )
    )
    trainer.train_step()
    assert trainer.grad_norm > 0.1
    assert seen[0] == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("model", [{}, {"velocity_head": True}])
def test_every_kind_of_training_resumes_bit_for_bit(dataset, config, optimizer, model):
    config = dataclasses.replace(
        with_train(config, optimizer=optimizer, accumulate=3, mode="pad"),
        model=dataclasses.replace(config.model, qk_norm=True, position_encoding="t5", **model),
    )
    unbroken = Trainer(dataset, config, CPU)
    losses(unbroken, 7)
    saved, state = everything(unbroken), dict(unbroken.state())
    expected = losses(unbroken, 5)
    resumed = Trainer(dataset, config, CPU)
    losses(resumed, 2)  # its loader is ahead of the position to load
    resumed.load(saved, state)
    assert losses(resumed, 5) == expected
    assert_same(everything(resumed), everything(unbroken))


@pytest.mark.parametrize("groups", [2, 6])
def test_lanes_in_groups_learn_what_they_learn_together(dataset, config, groups):
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, dropout=0.0))
    together = Trainer(dataset, with_train(config, batch_size=6), CPU)
    apart = Trainer(dataset, with_train(config, batch_size=6, accumulate=groups), CPU)
    assert losses(apart, 12) == pytest.approx(losses(together, 12), rel=1e-4)
    assert apart.grad_norm == pytest.approx(float(together.grad_norm), rel=1e-3)
    for name, tensor in together.tensors().items():
        if name.startswith("memory"):
            assert torch.allclose(apart.tensors()[name], tensor, atol=1e-2), name


def test_the_norm_of_the_weight_update_is_measured(dataset, config):
    trainer = Trainer(dataset, config, CPU)
    losses(trainer, 2)
    before = everything(trainer)
    trainer.train_step(measure_update=True)
    after = everything(trainer)
    moved = [(after[n] - before[n]).square().sum() for n in after if n.startswith("model.")]
    assert float(trainer.update_norm) == pytest.approx(float(sum(moved).sqrt()), rel=1e-5)
    assert trainer.update_norm > 0


@pytest.mark.parametrize("mode", ["join", "pad", "crop"])
def test_every_mode_trains_and_only_join_fills_every_position(dataset, config, mode):
    config = with_train(config, mode=mode, block_size=30, drop_parts=0.0, rearranged=0.0)
    trainer = Trainer(dataset, config, CPU)
    targets = sum(int(trainer.train_step().targets) for _ in range(12))
    share = targets / (12 * trainer.tokens_per_step)
    assert (share < 0.995) == (mode == "pad")


def test_a_split_without_songs_is_named(make_twin, make_songs, config):
    twin = make_twin(make_songs([9, 9, 9]), ["train"] * 3)
    with pytest.raises(LakhxlError, match="valid split has no songs"):
        Trainer(twin, config, CPU)


def test_more_lanes_than_songs_are_refused(dataset, config):
    with pytest.raises(LakhxlError, match="batch_size is 7 lanes, but the train split has 6 songs"):
        Trainer(dataset, with_train(config, batch_size=7), CPU)
