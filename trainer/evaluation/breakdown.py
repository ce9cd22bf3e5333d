"""Costs put together by what the targets are, with an interval that says how sure a mean is.

Songs are what was drawn at random, and a song's targets go together: an interval is found by
drawing as many songs again, with replacement, and taking the mean of what was drawn (the sum of
costs over the sum of counts), many times over.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 13.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from shards.gm import FAMILIES
from shards.vocabulary import NO_INSTRUMENT, PROGRAMS, Kind, Vocabulary
from trainer.evaluation.token_loss import Costs

DRAWS, LOW, HIGH = 1000, 2.5, 97.5
PLACES = (0, 32, 128, 512, 2048, 8192)
"""Where each range of positions in a song begins, in tokens."""
KINDS = ("pitch", "duration", "rest", "length of rest", "meter", "tempo", "end", "other")
FAMILY_NAMES = (*(name for name, _ in FAMILIES), "Drums")


@dataclass(frozen=True)
class Mean:
    """A mean, between what it could as well have been; of how many targets."""

    mean: float
    low: float
    high: float
    count: int

    def to_json(self) -> dict[str, float]:
        """Plain data."""
        return dict(vars(self))


def means(
    songs: np.ndarray, groups: np.ndarray, costs: np.ndarray, counts: np.ndarray, *, size: int
) -> list[Mean | None]:
    """The mean cost of each group.

    Args:
        songs: shape (targets,); which song each is of, from 0.
        groups: shape (targets,); which group, from 0; negative: none.
        costs: shape (targets,).
        counts: shape (targets,); what each adds to the divisor.
        size: groups that there are.

    Returns:
        For each group its mean; None where nothing was counted.
    """
    inside = groups >= 0
    number = int(songs.max()) + 1
    cells = songs[inside] * size + groups[inside]

    def by_song(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(cells, weights=values[inside], minlength=number * size)
        return sums.reshape(number, size)

    cost, count = by_song(costs), by_song(counts.astype(np.float64))
    picks = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), DRAWS)
    drawn_cost, drawn_count = picks @ cost, picks @ count
    results: list[Mean | None] = []
    for group in range(size):
        whole = count[:, group].sum()
        if whole == 0:
            results.append(None)
            continue
        valid = drawn_count[:, group] > 0
        ratios = drawn_cost[valid, group] / drawn_count[valid, group]
        low, high = np.percentile(ratios, [LOW, HIGH])
        mean = cost[:, group].sum() / whole
        results.append(Mean(float(mean), float(low), float(high), round(whole)))
    return results


@dataclass(frozen=True)
class Targets:
    """What the targets of some songs are; each array of shape (targets,), in the order of `Costs`.

    Attributes:
        kinds: place in KINDS.
        families: place in FAMILY_NAMES of both tokens of a note, else -1.
        positions: place in PLACES.
        meters: place in `meter_names` of the meter in force.
        meter_names: those that occur, the one with most targets first.
        notes: 1 at a pitch, else 0.
        seconds: shape (songs,); how long each song lasts.
    """

    kinds: np.ndarray
    families: np.ndarray
    positions: np.ndarray
    meters: np.ndarray
    meter_names: tuple[str, ...]
    notes: np.ndarray
    seconds: np.ndarray

    @classmethod
    def of(cls, dataset: Any, numbers: np.ndarray) -> "Targets":
        """Read what the targets of a dataset's songs are."""
        vocabulary = dataset.vocabulary
        parts: dict[str, list[np.ndarray]] = {}
        seconds = []
        for number in numbers.tolist():
            song = dataset.song(number)
            decoded = dataset.codec.decode(song)
            seconds.append(float(decoded.seconds(decoded.end)))
            for name, labels in _labels(song, vocabulary).items():
                parts.setdefault(name, []).append(labels)
        whole = {name: np.concatenate(labels) for name, labels in parts.items()}
        ids, meters, sizes = np.unique(whole.pop("meters"), return_inverse=True, return_counts=True)
        order = np.argsort(-sizes, kind="stable")
        every = vocabulary.names
        names = tuple(
            every[ids[n]].removeprefix("m") if vocabulary.meters else "4/4" for n in order
        )
        return cls(
            meters=np.argsort(order)[meters],
            meter_names=names,
            seconds=np.array(seconds),
            **whole,
        )


def _labels(song: Any, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    tokens = song.tokens.astype(np.int64)
    kind = vocabulary.kind(tokens)
    before = np.roll(kind, 1)
    kinds = np.select(
        [
            kind == Kind.PITCH,
            (kind == Kind.DURATION) & (before == Kind.PITCH),
            kind == Kind.SEP,
            kind == Kind.DURATION,
            kind == Kind.METER,
            kind == Kind.TEMPO,
            kind == Kind.EOS,
        ],
        range(7),
        7,
    )
    instruments = song.instruments.astype(np.int64)
    family = np.where(instruments < PROGRAMS, instruments // 8, len(FAMILIES))
    last_meter = np.maximum.accumulate(np.where(kind == Kind.METER, np.arange(len(tokens)), 0))
    usual = vocabulary.meter_id(4, 4) if vocabulary.meters else vocabulary.sos
    positions = np.searchsorted(PLACES, np.arange(len(tokens) - 1), side="right") - 1
    return {
        "kinds": kinds[1:],
        "families": np.where(instruments == NO_INSTRUMENT, -1, family)[1:],
        "meters": np.where(last_meter > 0, tokens[last_meter], usual)[1:],
        "positions": positions,
        "notes": (kind == Kind.PITCH)[1:].astype(np.int64),
    }


def overall(costs: Costs, targets: Targets) -> dict[str, Mean]:
    """The loss, each head's own, bits a note and bits a second."""
    songs, everything = costs.songs, np.zeros(len(costs.songs), np.int64)
    ones = np.ones(len(songs))
    found = {"loss": (costs.all, ones)}
    for name, head in costs.heads.items():
        found[name] = head, ones if name == "tokens" else targets.notes
    found["bits_per_note"] = costs.all / math.log(2), targets.notes
    share = targets.seconds / np.diff(costs.starts)  # each target's part of its song's time
    found["bits_per_second"] = costs.all / math.log(2), share[songs]
    return {name: means(songs, everything, *values, size=1)[0] for name, values in found.items()}


def breakdowns(costs: Costs, targets: Targets) -> dict[str, dict[str, Mean]]:
    """The loss by kind of token, place in the song, family of instruments, and meter.

    In nats a target, but by family in nats a note: what its pitch, player and duration cost.
    """
    ones = np.ones(len(targets.kinds))
    ends = [*(f"{low:,}-{high - 1:,}" for low, high in pairwise(PLACES))]
    wanted = {
        "token": (targets.kinds, KINDS, ones),
        "place": (targets.positions, (*ends, f"{PLACES[-1]:,} on"), ones),
        "family": (targets.families, FAMILY_NAMES, targets.notes),
        "meter": (targets.meters, targets.meter_names, ones),
    }
    found = {}
    for title, (groups, names, counts) in wanted.items():
        rows = means(costs.songs, groups, costs.all, counts, size=len(names))
        found[title] = {n: row for n, row in zip(names, rows, strict=True) if row is not None}
    return found
