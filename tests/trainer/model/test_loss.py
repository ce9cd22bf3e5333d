import math

import torch

from trainer.data.batches import IGNORED, Batch
from trainer.model.loss import PLACES, TokenLosses, add, loss_by_position, sum_losses, token_losses
from trainer.model.transformer import Output


def scored(targets, instrument_targets, *, classes=4):
    """The tally of a model that finds all of `classes` tokens and 8 instruments equally likely."""
    targets = torch.tensor([targets])
    output = Output(
        tokens=torch.zeros(*targets.shape, classes),
        hidden=torch.zeros(*targets.shape, 1),
        instruments=torch.zeros(*targets.shape, 8),
        velocities=None,
    )
    nothing = torch.zeros_like(targets)
    batch = Batch(
        *[nothing] * 5, targets=targets, instrument_targets=torch.tensor([instrument_targets])
    )
    return sum_losses(token_losses(output, batch), batch)


def test_the_loss_is_nats_a_target_over_both_heads():
    one = scored([0, 1, 2, IGNORED], [5, IGNORED, IGNORED, IGNORED])
    assert (one.targets, one.pitches) == (3, 1)
    means = one.means()
    assert math.isclose(means["loss"], math.log(4) + math.log(8) / 3, rel_tol=1e-6)
    assert math.isclose(means["tokens"], math.log(4), rel_tol=1e-6)
    assert math.isclose(means["instruments"], math.log(8), rel_tol=1e-6)
    assert math.isclose(means["bits_per_note"], 3 * 2 + 3, rel_tol=1e-6)


def test_tallies_add_up_by_target_and_not_by_batch():
    long, short = scored([0] * 9, [IGNORED] * 9), scored([0], [IGNORED], classes=100)
    expected = (9 * math.log(4) + math.log(100)) / 10
    assert math.isclose(add([long, short]).means()["loss"], expected, rel_tol=1e-6)


def test_a_batch_without_targets_scores_nothing():
    assert set(scored([IGNORED], [IGNORED]).means().values()) == {0}


def test_nats_are_laid_out_by_place_in_the_song():
    positions = torch.tensor([[0, 15, 16, 31, 32, 8191, 8192, 60_000, 5]])
    cost = torch.arange(1.0, 10.0)[None]
    targets = torch.tensor([[1] * 8 + [IGNORED]])
    batch = Batch(*[positions] * 5, positions=positions, targets=targets)
    found = loss_by_position(
        TokenLosses(cost, torch.zeros_like(cost), torch.ones_like(cost)), batch
    )
    assert found.shape == (2, PLACES)
    assert found[1].tolist() == [2, 2, 1, 0, 0, 0, 0, 0, 0, 1, 2]
    assert found[0].tolist() == [1 + 2 + 2, 3 + 4 + 2, 5 + 1, 0, 0, 0, 0, 0, 0, 6 + 1, 7 + 8 + 2]
