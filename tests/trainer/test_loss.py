import math

import torch

from trainer.batches import IGNORED, Batch
from trainer.loss import add, tally
from trainer.model import Output


def scored(targets, instrument_targets, *, classes=4):
    """The tally of a model that finds all of `classes` tokens and 8 instruments equally likely."""
    targets = torch.tensor([targets])
    output = Output(torch.zeros(*targets.shape, classes), torch.zeros(*targets.shape, 8))
    nothing = torch.zeros_like(targets)
    batch = Batch(
        *[nothing] * 5, targets=targets, instrument_targets=torch.tensor([instrument_targets])
    )
    return tally(output, batch)


def test_the_loss_is_nats_a_target_over_both_heads():
    one = scored([0, 1, 2, IGNORED], [5, IGNORED, IGNORED, IGNORED])
    assert (one.targets, one.pitches) == (3, 1)
    means = one.means()
    assert math.isclose(means["loss"], math.log(4) + math.log(8) / 3, rel_tol=1e-6)
    assert math.isclose(means["tokens"], math.log(4), rel_tol=1e-6)
    assert math.isclose(means["instruments"], math.log(8), rel_tol=1e-6)


def test_tallies_add_up_by_target_and_not_by_batch():
    long, short = scored([0] * 9, [IGNORED] * 9), scored([0], [IGNORED], classes=100)
    expected = (9 * math.log(4) + math.log(100)) / 10
    assert math.isclose(add([long, short]).means()["loss"], expected, rel_tol=1e-6)


def test_a_batch_without_targets_scores_nothing():
    assert scored([IGNORED], [IGNORED]).means() == {"loss": 0, "tokens": 0, "instruments": 0}
