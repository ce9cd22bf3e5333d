"""What reverse teacher forcing masks, and what an output then depends on."""

import dataclasses

import pytest
import torch

from trainer.config import RTF_MODES as MODES
from trainer.data.batches import Batch
from trainer.training import reverse_teacher_forcing as rtf
from trainer.training.reverse_teacher_forcing import draw_mask
from trainer.training.trainer import Trainer

B, T = 64, 20


def drawn(mode, *, probability=0.5, step=3, lanes=B, block_size=T, max_window=5, seed=1):
    return draw_mask(
        mode,
        lanes=lanes,
        block_size=block_size,
        probability=probability,
        max_window=max_window,
        seed=seed,
        step=step,
    )


def test_off_draws_nothing():
    assert drawn("off") is None


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_step_draws_the_same_again_and_the_next_something_else(mode):
    first, again, other = drawn(mode), drawn(mode), drawn(mode, step=4)
    assert torch.equal(first.min_distance, again.min_distance)
    assert not torch.equal(first.min_distance, other.min_distance)


@pytest.mark.parametrize("mode", MODES[1:])
def test_lanes_are_drawn_with_their_probability(mode):
    for probability in (0.0, 0.25, 1.0):
        masked = drawn(mode, probability=probability, lanes=4000).min_distance.any(dim=1)
        assert abs(float(masked.float().mean()) - probability) < 0.03


def test_shift_masks_the_own_key():
    rows = drawn("shift").min_distance.unique(dim=0).tolist()
    assert rows == [[0] * T, [1] * T]
    assert drawn("shift").masked_inputs is None


def test_windows_have_every_length_and_begin_with_the_block():
    rows = {tuple(row) for row in drawn("window", probability=1.0, lanes=400).min_distance.tolist()}
    assert rows == {tuple(t % w + 1 for t in range(T)) for w in range(1, 6)}


def test_strict_masks_one_position_in_w_and_never_two_in_a_row():
    mask = drawn("strict", lanes=4000)
    lanes = mask.min_distance.any(dim=1)
    assert torch.equal(mask.min_distance, lanes[:, None].long().expand(-1, T))
    assert not mask.masked_inputs[~lanes].any()
    assert not (mask.masked_inputs[:, 1:] & mask.masked_inputs[:, :-1]).any()
    share = float(mask.masked_inputs[lanes].float().mean())
    assert abs(share - (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4) < 0.01
    assert mask.masked_inputs.any(dim=0).all()


WIDTH = 3


def expected_inputs(mode, segment_ids, masked_inputs):
    """The sets in the docstring of `trainer.training.reverse_teacher_forcing`, by position."""
    sets = []
    for t, segment_id in enumerate(segment_ids):
        mine = {j for j in range(t + 1) if segment_ids[j] == segment_id}
        if mode == "window":
            mine = {j for j in mine if j < t - t % WIDTH} | {t}
        if mode == "strict":
            mine = {j for j in mine if not masked_inputs[j]}
        sets.append(mine)
    return sets


@pytest.mark.parametrize("positions", ["rope_music", "rope", "txl", "t5"])
@pytest.mark.parametrize("mode", MODES)
def test_an_output_depends_on_what_the_docstring_states(make_model, vocabulary, mode, positions):
    model = make_model(rtf=mode, position_encoding=positions)
    segment_ids = [4] * 7 + [5] * 5
    block = len(segment_ids)
    tokens = torch.arange(block)[None] + 10  # all different, so that each has its own row
    nothing = torch.zeros_like(tokens)
    batch = Batch(tokens, nothing, nothing, nothing, torch.tensor([segment_ids]))
    options = {"lanes": 1, "block_size": block, "probability": 1.0, "max_window": WIDTH, "seed": 0}
    masks = [drawn(mode, step=step, **options) for step in range(20)]
    if mode == "window":  # one whose w is WIDTH
        masks = [mask for mask in masks if mask.min_distance.max() == WIDTH]
    batch = masks[0].apply(batch, slice(None)) if masks[0] else batch
    memory = model.empty_memory(1)
    memory = memory._replace(
        values=tuple(torch.randn_like(layer).requires_grad_() for layer in memory.values),
        segment_ids=torch.full_like(memory.segment_ids, 4),
    )
    masked_inputs = (
        [False] * block if batch.masked_inputs is None else batch.masked_inputs[0].tolist()
    )
    expected = expected_inputs(mode, segment_ids, masked_inputs)
    output, _ = model.attend(batch, memory)
    for t in range(block):
        model.zero_grad()
        output.token_logits[0, t].square().sum().backward(retain_graph=True)
        tables = (model.embed.token, model.embed.previous[0])
        rows = sum(table.weight.grad.abs().sum(dim=1)[tokens[0]] for table in tables)
        assert {j for j in range(block) if rows[j]} == expected[t]
        for layer in memory.values:
            assert layer.grad.any(dim=-1).all() == (segment_ids[t] == 4)  # all of it, or nothing
            layer.grad = None


def test_a_probability_of_nothing_is_bit_identical_to_off(dataset, config):
    def first_losses(**settings):
        part = {key: settings.pop(key) for key in ("rtf",) if key in settings}
        changed = dataclasses.replace(
            config,
            model=dataclasses.replace(config.model, **part),
            train=dataclasses.replace(config.train, **settings),
        )
        trainer = Trainer(dataset, changed, torch.device("cpu"))
        return [float(trainer.train_step().loss) for _ in range(4)]

    off = first_losses()
    for mode in ("shift", "window"):
        assert first_losses(rtf=mode, rtf_probability=0.0) == off
        assert first_losses(rtf=mode, rtf_probability=1.0) != off
    assert first_losses(rtf="strict", rtf_probability=1.0) != off


def test_evaluation_masks_nothing(dataset, config, monkeypatch):
    settings = dataclasses.replace(config.model, rtf="strict")
    trainer = Trainer(dataset, dataclasses.replace(config, model=settings), torch.device("cpu"))
    monkeypatch.setattr(rtf, "draw_mask", None)  # would raise
    assert trainer.evaluate().means()["loss"] > 0
    with pytest.raises(TypeError):
        trainer.train_step()
