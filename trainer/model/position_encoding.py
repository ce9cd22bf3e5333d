"""Relative positions: how attention scores depend on distance; chosen by name.

Each scheme is a module in every layer, with a table that all layers share and that is computed once
per block.

Conventions
    B lanes, H attention heads, E head width, C model width
    T queries, M keys in the memory, K = M + T keys; query t stands at key M + t
    place  how many tokens of the lane come before a token; all lanes of a batch are at the same
    R distances, 0 to K - 1: as many as K, but indexed by distance instead of by key
    bars, steps  of each token of the block, shape (B, T), int64; read by rope_music alone

Sources
    rope  Su et al. 2021, RoFormer. https://arxiv.org/abs/2104.09864
    txl   Dai et al. 2019, Transformer-XL. https://arxiv.org/abs/1901.02860
    t5    Raffel et al. 2020, T5, section 2.1. https://arxiv.org/abs/1910.10683
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from trainer.model.linear import Linear

BASE = 10_000.0
"""Base of the frequencies: wavelengths grow from 2π almost to 2π · BASE tokens."""

BAR_WAVELENGTHS, STEP_WAVELENGTHS = (2.0, 256.0), (6.0, 384.0)
"""The shortest and the longest of rope_music: in bars; and in steps, at 24 a quarter note from a
sixteenth to the longest bar."""

TURN = 2**32
"""Parts of a full turn that the angles of rope are counted in."""


def frequencies(width: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Radians per token: width / 2 frequencies from 1 down to just above 1 / BASE.

    Args:
        width: E for rope, C for txl.
        device, dtype: of the result, which has shape (width / 2,).
    """
    return BASE ** (-torch.arange(0, width, 2, device=device, dtype=dtype) / width)


class Rope(nn.Module):
    """Rotates queries and keys by their places, so that products depend on distance alone.

    A key is rotated once, when it is made; the memory keeps it so. Angles are counted in integers,
    in parts of a turn, and whole turns are dropped: they are as exact after 10^9 tokens as at the
    start. (Frequencies are whole numbers of parts per token: less than 0.001 % off.)
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        radians = frequencies(width // heads, torch.device("cpu"), torch.float64)
        self.parts = _parts(radians)  # per token, shape (E / 2,)

    def table(
        self, keys: int, places: Tensor, bars: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the angles at places, shape (T,) -> each shape (T, E / 2)."""
        angles = _angles(places, self.parts)
        return angles.cos(), angles.sin()

    def forward(
        self, queries: Tensor, keys: Tensor, table: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, None]:
        """Rotate.

        Args:
            queries, keys: of the block, shape (B, H, T, E).
            table: of the block's places.

        Returns:
            Queries and keys, rotated, of the same shapes and dtype; and no bias.
        """
        return rotate(queries, *table), rotate(keys, *table), None


class MusicRope(Rope):
    """Rotates by how far tokens are apart in the stream, in bars and within the bar, at once.

    Half of the planes turn with the place, a quarter with the number of the bar, and a quarter with
    the step within it. So a head can attend to what sounds at the same time in a part that was
    given before, or to the same beat of an earlier bar, however many tokens lie between.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        planes = width // heads // 2
        of_bars = planes // 4
        of_places = planes - 2 * of_bars
        self.parts = _parts(
            frequencies(2 * of_places, torch.device("cpu"), torch.float64)
        )  # (E / 4,)
        self.bar_parts = _parts(math.tau / _wavelengths(of_bars, *BAR_WAVELENGTHS))  # (E / 8,)
        self.step_parts = _parts(math.tau / _wavelengths(of_bars, *STEP_WAVELENGTHS))  # (E / 8,)

    def table(
        self, keys: int, places: Tensor, bars: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the angles of each token, each shape (B, 1, T, E / 2)."""
        of_places = _angles(places, self.parts).expand(*bars.shape, -1)
        angles = [of_places, _angles(bars, self.bar_parts), _angles(steps, self.step_parts)]
        joined = torch.cat(angles, dim=-1)[:, None]
        return joined.cos(), joined.sin()


def _wavelengths(count: int, shortest: float, longest: float) -> Tensor:
    """Wavelengths from the shortest to the longest, in equal ratios, shape (count,), float64."""
    ends, cpu = (math.log2(shortest), math.log2(longest)), torch.device("cpu")
    return torch.logspace(*ends, count, base=2.0, device=cpu, dtype=torch.float64)


def _parts(radians: Tensor) -> Tensor:
    """Parts of a turn per unit, whole numbers, of radians per unit; a buffer of the same shape."""
    return nn.Buffer((radians * (TURN / math.tau)).round().long(), persistent=False)


def _angles(at: Tensor, parts: Tensor) -> Tensor:
    """Radians at whole positions, shape (...) and (frequencies,) -> (..., frequencies), float32."""
    turned = (at[..., None] & (TURN - 1)) * parts & (TURN - 1)  # below 2^62 in between
    return turned.float() * (math.tau / TURN)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate the plane (x[i], x[i + E/2]) by angle i, for each i < E/2; same shape and dtype."""
    left, right = x.chunk(2, dim=-1)
    rotated = torch.cat([left * cosines - right * sines, right * cosines + left * sines], dim=-1)
    return rotated.to(x.dtype)


class TransformerXLPositions(nn.Module):
    """Dai et al.'s relative attention: score = (q + u)·k + (q + v)·(W r), r by distance.

    u and v are one vector per head and layer, as in the paper's formula (its code shares them
    between layers). The attention computes the first term, from queries with u added; the second
    is the bias.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.u = nn.Parameter(torch.zeros(heads, 1, width // heads))
        self.v = nn.Parameter(torch.zeros(heads, 1, width // heads))
        self.project = Linear(width, width, bias=False)

    def table(self, keys: int, places: Tensor, bars: Tensor, steps: Tensor) -> Tensor:
        """The sinusoid of each distance from K - 1 down to 0, shape (R, C)."""
        distances = torch.arange(keys - 1, -1, -1, device=places.device, dtype=torch.float32)
        angles = torch.outer(distances, frequencies(self.width, places.device))
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def forward(
        self, queries: Tensor, keys: Tensor, table: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add u to the queries, and score the distances.

        Returns:
            Queries + u, shape (B, H, T, E); unchanged keys; and the bias, shape (B, H, T, K),
            scaled by 1 / sqrt(E) as the attention scales the other term.
        """
        distances = rearrange(self.project(table), "r (h e) -> h r e", h=self.heads)
        score = (queries + self.v) @ distances.transpose(-1, -2)  # (B, H, T, R)
        bias = relative_shift(score) * queries.shape[-1] ** -0.5
        return (queries + self.u).to(queries.dtype), keys, bias


def relative_shift(score_BHTR: Tensor) -> Tensor:
    """Turn scores by distance into scores by key.

    Column r of the input scores the key R - 1 - r positions before the query; column k of the
    result scores key k. Equal to this gather, by padding and reshaping:

        result[..., t, k] = score[..., t, k + T - 1 - t]      for k <= M + t

    Later keys are in the future and hold meaningless values: mask them.

    Args:
        score_BHTR: shape (B, H, T, R), any float dtype.

    Returns:
        shape (B, H, T, K), same dtype; shares no memory with the input.

    Source:
        Dai et al. 2019, Transformer-XL, appendix B. https://arxiv.org/abs/1901.02860
    """
    B, H, T, R = score_BHTR.shape
    padded = functional.pad(score_BHTR, (1, 0))  # (B, H, T, R + 1)
    # Dropping the first T values of the flat array and cutting it into rows of R again shifts row t
    # left by T - 1 - t columns.
    return padded.view(B, H, R + 1, T)[:, :, 1:].reshape(B, H, T, R)


BUCKETS = 32
"""Biases a head, as in T5."""

MAX_DISTANCE = 1024
"""The last bucket holds all distances from here on. T5 has 128, for 512 tokens of text; a bar of
music is some 60 tokens, and forms are many bars long."""


class T5Positions(nn.Module):
    """A learned bias per head and bucket of distances, added to the scores.

    All buckets are for past keys, as no others are attended to: half hold one distance each, half
    hold ranges that widen logarithmically up to MAX_DISTANCE. Each layer has its own biases (T5
    shares one set).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(heads, BUCKETS))

    def table(self, keys: int, places: Tensor, bars: Tensor, steps: Tensor) -> Tensor:
        """The bucket of each distance from K - 1 down to 0, shape (R,), int64."""
        return bucket(torch.arange(keys - 1, -1, -1, device=places.device))

    def forward(
        self, queries: Tensor, keys: Tensor, table: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Unchanged queries and keys; and the bias, shape (1, H, T, K)."""
        score = self.bias[:, table][None, :, None].expand(-1, -1, queries.shape[2], -1)
        return queries, keys, relative_shift(score)


def bucket(distances: Tensor) -> Tensor:
    """Bucket of each distance: the distance itself below BUCKETS / 2, then by its logarithm.

    Source: Raffel et al., `_relative_position_bucket` of their code, not bidirectional.
    """
    exact = BUCKETS // 2
    ratio = distances.clamp(min=exact).float() / exact
    coarse = exact + (ratio.log() / math.log(MAX_DISTANCE / exact) * (BUCKETS - exact)).long()
    return torch.where(distances < exact, distances, coarse.clamp(max=BUCKETS - 1))


ROTARY = {"rope": Rope, "rope_music": MusicRope}
SCHEMES = {**ROTARY, "txl": TransformerXLPositions, "t5": T5Positions}
