import math

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from trainer.data.batches import IGNORED, Batch
from trainer.model.loss import (
    POSITION_EDGES,
    POSITION_NAMES,
    TokenLosses,
    add,
    loss_by_position,
    sum_losses,
    token_losses,
)
from trainer.model.transformer import Output


def uniform_sums(targets, instrument_targets, *, classes=4):
    """The sums of a model with uniform predictions over `classes` tokens and 8 instruments."""
    targets = torch.tensor([targets])
    output = Output(
        token_logits=torch.zeros(*targets.shape, classes),
        hidden=torch.zeros(*targets.shape, 1),
        instrument_logits=torch.zeros(*targets.shape, 8),
        velocity_logits=None,
    )
    nothing = torch.zeros_like(targets)
    batch = Batch(
        *[nothing] * 5,
        targets=targets,
        instrument_targets=torch.tensor([instrument_targets]),
        velocity_targets=targets,
    )
    return sum_losses(token_losses(output, batch), batch)


def test_the_loss_is_nats_per_target_summed_over_both_heads():
    one = uniform_sums([0, 1, 2, IGNORED], [5, IGNORED, IGNORED, IGNORED])
    assert (one.targets, one.instrument_targets, one.notes) == (3, 1, 3)
    means = one.means()
    assert math.isclose(means["loss"], math.log(4) + math.log(8) / 3, rel_tol=1e-6)
    assert math.isclose(means["tokens"], math.log(4), rel_tol=1e-6)
    assert math.isclose(means["instruments"], math.log(8), rel_tol=1e-6)
    assert math.isclose(means["bits_per_note"], (3 * 2 + 3) / 3, rel_tol=1e-6)


def test_sums_are_averaged_per_target_not_per_batch():
    long, short = uniform_sums([0] * 9, [IGNORED] * 9), uniform_sums([0], [IGNORED], classes=100)
    expected = (9 * math.log(4) + math.log(100)) / 10
    assert math.isclose(add([long, short]).means()["loss"], expected, rel_tol=1e-6)


def test_a_batch_without_targets_has_loss_zero():
    assert set(uniform_sums([IGNORED], [IGNORED]).means().values()) == {0}


def test_losses_are_summed_by_position_in_the_song():
    positions = torch.tensor([[0, 15, 16, 31, 32, 8191, 8192, 60_000, 5]])
    losses = torch.arange(1.0, 10.0)[None]
    targets = torch.tensor([[1] * 8 + [IGNORED]])
    batch = Batch(*[positions] * 5, positions=positions, targets=targets)
    found = loss_by_position(
        TokenLosses(losses, torch.zeros_like(losses), torch.ones_like(losses)), batch
    )
    assert found.shape == (2, len(POSITION_EDGES))
    assert found[1].tolist() == [2, 2, 1, 0, 0, 0, 0, 0, 0, 1, 2]
    assert found[0].tolist() == [1 + 2 + 2, 3 + 4 + 2, 5 + 1, 0, 0, 0, 0, 0, 0, 6 + 1, 7 + 8 + 2]


def test_ranges_of_positions_are_named_by_their_first_and_last():
    assert len(POSITION_NAMES) == len(POSITION_EDGES)
    assert POSITION_NAMES[:3] == ("0-15", "16-31", "32-63")
    assert POSITION_NAMES[-2:] == ("4096-8191", "8192-")


@pytest.mark.parametrize("compiled", [True, False])
def test_a_compiled_loss_of_bf16_logits_keeps_no_copy_of_them_in_fp32(compiled):
    batch = Batch(*[torch.zeros(2, 8, dtype=torch.long)] * 10)
    hidden, weight = torch.ones(2, 8, 4), torch.ones(32, 4, requires_grad=True)

    def loss(hidden, weight):
        logits = functional.linear(hidden.bfloat16(), weight.bfloat16())
        return token_losses(Output(logits, hidden, logits, None), batch).tokens.sum()

    if compiled:
        loss = torch.compile(loss, backend="aot_eager_decomp_partition", dynamic=False)
    kept = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        loss(hidden, weight)
    dtypes = {tensor.dtype for tensor in kept if tensor.numel() == 2 * 8 * 32}
    assert dtypes == {torch.bfloat16} if compiled else torch.float32 in dtypes
