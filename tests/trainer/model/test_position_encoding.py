import math

import pytest
import torch

from trainer.model.position_encoding import (
    MusicRope,
    Rope,
    T5Positions,
    TransformerXLPositions,
    bucket,
    relative_shift,
    rotate,
)

NONE = torch.zeros(1, 0, dtype=torch.long)
"""Bars and steps, which only MusicRope reads."""


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("M", [0, 1, 5])
def test_relative_shift_matches_its_definition(M, generator):
    T = 4
    score = torch.randn(2, 3, T, M + T, generator=generator)
    shifted = relative_shift(score)
    for t in range(T):
        for k in range(M + t + 1):  # the keys a causal mask lets through
            assert torch.equal(shifted[:, :, t, k], score[:, :, t, k + T - 1 - t])


def test_rotation_is_multiplication_by_a_complex_number(generator):
    x = torch.randn(1, 1, 5, 8, generator=generator)
    cosines, sines = Rope(16, 2).table(5, torch.arange(5), NONE, NONE)
    waves = 10_000.0 ** (-torch.arange(4) / 4)
    for position in range(5):
        planes = torch.complex(x[0, 0, position, :4], x[0, 0, position, 4:])
        turned = planes * torch.exp(1j * position * waves)
        expected = torch.cat([turned.real, turned.imag])
        assert torch.allclose(rotate(x, cosines, sines)[0, 0, position], expected, atol=1e-6)


def test_rope_scores_depend_on_the_distance_alone(generator):
    rope = Rope(8, 1)
    query, key = torch.randn(2, 8, generator=generator)
    scores = []
    for place in (0, 3, 10**9, 2**32 - 2, 10**15):  # the same four tokens back, wherever they are
        table = rope.table(5, torch.arange(place, place + 5), NONE, NONE)
        queries, keys, _ = rope(query.expand(1, 1, 5, 8), key.expand(1, 1, 5, 8), table)
        scores.append(queries[0, 0, 4] @ keys[0, 0, 0])
    assert torch.allclose(torch.stack(scores), scores[0].expand(5), atol=1e-5)


def test_the_angles_are_those_of_the_places_in_exact_arithmetic():
    rope, place = Rope(128, 1), 10**9 + 7
    parts = [int(part) for part in rope.parts]
    assert parts == [round(10_000.0 ** (-k / 64) * 2**32 / math.tau) for k in range(64)]
    cosines, sines = rope.table(1, torch.tensor([place]), NONE, NONE)
    for number, part in enumerate(parts):
        angle = place * part % 2**32 * math.tau / 2**32
        assert float(cosines[0, number]) == pytest.approx(math.cos(angle), abs=1e-6)
        assert float(sines[0, number]) == pytest.approx(math.sin(angle), abs=1e-6)


def test_music_rope_scores_depend_on_the_distances_in_tokens_bars_and_steps_alone(generator):
    rope = MusicRope(32, 1)
    query, key = torch.randn(2, 32, generator=generator)

    def score(place, bar, step, far=(4, 3, 9)):
        at = [
            torch.tensor([[first, first + by]])
            for first, by in zip((bar, step), far[1:], strict=True)
        ]
        places = torch.tensor([place, place + far[0]])
        table = rope.table(2, places, *at)
        queries, keys, _ = rope(query.expand(1, 1, 2, 32), key.expand(1, 1, 2, 32), table)
        return float(queries[0, 0, 1] @ keys[0, 0, 0])

    first = score(0, 0, 0)
    for at in ((10**9, 0, 0), (0, 65_000, 0), (0, 0, 370), (2**32 - 2, 40, 7)):
        assert score(*at) == pytest.approx(first, abs=1e-5)
    for far in ((5, 3, 9), (4, 2, 9), (4, 3, 10), (4, -3, -9)):
        assert abs(score(10, 70, 40, far) - first) > 1e-3


def test_the_lanes_of_music_rope_turn_by_their_own_bars_and_steps(generator):
    rope, x = MusicRope(16, 2), torch.randn(1, 2, 3, 8, generator=generator).expand(2, -1, -1, -1)
    bars, steps = torch.tensor([[0, 0, 1], [7, 7, 8]]), torch.tensor([[0, 6, 0], [12, 18, 24]])
    both, _, _ = rope(x, x, rope.table(3, torch.arange(5, 8), bars, steps))
    for lane in range(2):
        table = rope.table(3, torch.arange(5, 8), bars[lane : lane + 1], steps[lane : lane + 1])
        alone, _, _ = rope(x[:1], x[:1], table)
        assert torch.equal(both[lane], alone[0])


@pytest.mark.parametrize("width", [2, 4, 6, 8, 64, 128])
def test_music_rope_has_a_rotation_for_every_plane(width):
    rope = MusicRope(width, 1)
    cosines, sines = rope.table(
        1, torch.arange(1), torch.ones(1, 1).long(), torch.ones(1, 1).long()
    )
    assert cosines.shape == sines.shape == (1, 1, 1, width // 2)


def test_txl_scores_match_the_papers_formula_term_by_term(generator):
    """Dai et al. 2019, section 3.3: A = (a) + (b) + (c) + (d), and u, v, W_kR its parameters."""
    C, H, M, T = 12, 2, 3, 4
    E, K = C // H, M + T
    scheme = TransformerXLPositions(C, H)
    for parameter in scheme.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    queries = torch.randn(1, H, T, E, generator=generator)
    keys = torch.randn(1, H, K, E, generator=generator)
    with_u, same_keys, bias = scheme(queries, keys, scheme.table(K, torch.arange(M, K), NONE, NONE))
    scores = with_u @ same_keys.transpose(-1, -2) / math.sqrt(E) + bias
    for head in range(H):
        W = scheme.project.weight[head * E : (head + 1) * E]
        u, v = scheme.u[head, 0], scheme.v[head, 0]
        for t in range(T):
            for k in range(M + t + 1):
                waves = (M + t - k) / 10_000.0 ** (torch.arange(0, C, 2) / C)
                R = W @ torch.cat([waves.sin(), waves.cos()])
                q, key = queries[0, head, t], keys[0, head, k]
                expected = (q @ key + q @ R + u @ key + v @ R) / math.sqrt(E)
                assert torch.allclose(scores[0, head, t, k], expected, atol=1e-4)


def slow_bucket(distance):
    """T5's `_relative_position_bucket`, one distance, not bidirectional, 32 buckets to 1,024."""
    if distance < 16:
        return distance
    return min(16 + int(math.log(distance / 16) / math.log(1024 / 16) * 16), 31)


def test_t5_buckets_are_exact_near_by_and_grow_by_ratio():
    distances = [*range(1100), 2000, 100_000]
    found = bucket(torch.tensor(distances)).tolist()
    borders = {16 * 2 ** (6 * n / 16) for n in range(17)}  # where rounding may go either way
    for distance, number in zip(distances, found, strict=True):
        if distance not in borders:
            assert number == slow_bucket(distance), distance
    assert found == sorted(found)
    assert set(found) == set(range(32))


@pytest.mark.parametrize("M", [0, 3])
def test_t5_scores_match_their_definition(M, generator):
    H, E, T = 2, 4, 40
    scheme = T5Positions(H * E, H)
    scheme.bias.data = torch.randn(H, 32, generator=generator)
    queries = torch.randn(3, H, T, E, generator=generator)
    keys = torch.randn(3, H, M + T, E, generator=generator)
    same_queries, same_keys, bias = scheme(
        queries, keys, scheme.table(M + T, torch.arange(M, M + T), NONE, NONE)
    )
    assert same_queries is queries
    assert same_keys is keys
    for head in range(H):
        for t in range(T):
            for k in range(M + t + 1):
                expected = scheme.bias[head, slow_bucket(M + t - k)]
                assert bias[0, head, t, k] == expected
