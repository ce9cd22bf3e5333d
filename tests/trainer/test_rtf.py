"""What reverse teacher forcing draws, and what an output then depends on."""

import pytest
import torch

from trainer.rtf import MODES, draw

B, T = 64, 20


def drawn(mode, *, share=0.5, longest=5, step=3, lanes=B):
    return draw(mode, lanes=lanes, block=T, share=share, longest=longest, seed=1, step=step)


def test_off_draws_nothing():
    assert drawn("off") is None


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_step_draws_the_same_again_and_the_next_something_else(mode):
    first, again, other = drawn(mode), drawn(mode), drawn(mode, step=4)
    assert torch.equal(first.nearest, again.nearest)
    assert not torch.equal(first.nearest, other.nearest)


@pytest.mark.parametrize("mode", MODES[1:])
def test_lanes_are_drawn_with_their_probability(mode):
    for share in (0.0, 0.25, 1.0):
        hidden = drawn(mode, share=share, lanes=4000).nearest.any(dim=1)
        assert abs(float(hidden.float().mean()) - share) < 0.03


def test_shift_keeps_the_own_key_back():
    rows = drawn("shift").nearest.unique(dim=0).tolist()
    assert rows == [[0] * T, [1] * T]
    assert drawn("shift").replaced is None


def test_windows_have_every_length_and_begin_with_the_block():
    rows = {tuple(row) for row in drawn("window", share=1.0, lanes=400).nearest.tolist()}
    assert rows == {tuple(t % w + 1 for t in range(T)) for w in range(1, 6)}


def test_strict_replaces_one_position_in_w_and_never_two_in_a_row():
    hidden = drawn("strict", lanes=4000)
    lanes = hidden.nearest.any(dim=1)
    assert torch.equal(hidden.nearest, lanes[:, None].long().expand(-1, T))
    assert not hidden.replaced[~lanes].any()
    assert not (hidden.replaced[:, 1:] & hidden.replaced[:, :-1]).any()
    share = float(hidden.replaced[lanes].float().mean())
    assert abs(share - (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4) < 0.01
    assert hidden.replaced.any(dim=0).all()
