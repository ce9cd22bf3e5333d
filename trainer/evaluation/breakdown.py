"""Break a loss down by what the targets are, with 95 % confidence intervals over songs."""

import math
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from shards.codec import EncodedSong
from shards.gm import FAMILIES
from shards.reader import SongSource, decode_song
from shards.vocabulary import NO_INSTRUMENT, PROGRAMS, Kind, Vocabulary
from trainer.evaluation.interval import ratio_interval
from trainer.evaluation.token_loss import SongLosses
from trainer.model.loss import POSITION_EDGES, POSITION_NAMES

KINDS = ("pitch", "drum", "duration", "rest", "meter", "tempo", "control", "end")
KIND_NUMBERS = {
    Kind.PITCH: 0, Kind.DRUM: 1, Kind.DURATION: 2, Kind.REST: 3, Kind.METER: 4, Kind.TEMPO: 5,
    Kind.BEND: 6, Kind.MODULATION: 6, Kind.EOS: 7,
}  # fmt: skip
"""Kind of token -> index into KINDS."""
FAMILY_NAMES = (*(name for name, _ in FAMILIES), "Drums")


class Estimate(TypedDict):
    """A mean with its 95 % interval."""

    mean: float
    low: float | None  # None: too few songs, see `trainer.evaluation.interval`
    high: float | None
    count: int  # of targets
    songs: int  # that have any


def mean_losses(
    songs: np.ndarray, groups: np.ndarray, losses: np.ndarray, counts: np.ndarray, *, size: int
) -> list[Estimate | None]:
    """Estimate the mean loss of each group of targets.

    Args:
        songs: shape (targets,); the song of each target, from 0.
        groups: shape (targets,); the group of each target, from 0; negative: none.
        losses: shape (targets,).
        counts: shape (targets,); what each target adds to the divisor.
        size: number of groups.

    Returns:
        One per group; None if its divisor is 0.
    """
    inside = groups >= 0
    song_count = int(songs.max()) + 1
    cells = groups[inside] * song_count + songs[inside]

    def by_song(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(cells, weights=values[inside], minlength=song_count * size)
        return sums.reshape(size, song_count)

    rows = zip(by_song(losses), by_song(counts.astype(np.float64)), strict=True)
    return [_estimate(*row) if row[1].any() else None for row in rows]


def _estimate(losses: np.ndarray, counts: np.ndarray) -> Estimate:
    """The estimate of one group from its sums by song, shape (songs,)."""
    low, high = ratio_interval(losses, counts) or (None, None)
    return {
        "mean": float(losses.sum() / counts.sum()),
        "low": low,
        "high": high,
        "count": round(counts.sum()),
        "songs": int((counts > 0).sum()),
    }


@dataclass(frozen=True)
class Targets:
    """What the targets of some songs are; flat arrays in the order of `SongLosses`.

    Attributes:
        kinds: index into KINDS.
        families: index into FAMILY_NAMES at every token of a note, else -1.
        positions: index into POSITION_NAMES.
        meters: index into `meter_names`, of the meter in force.
        meter_names: those that occur, the one with most targets first.
        notes: 1 at a pitch or drum, else 0.
        instrument_targets: 1 where a program is predicted, else 0.
        seconds: shape (songs,); duration of each song.
    """

    kinds: np.ndarray
    families: np.ndarray
    positions: np.ndarray
    meters: np.ndarray
    meter_names: tuple[str, ...]
    notes: np.ndarray
    instrument_targets: np.ndarray
    seconds: np.ndarray

    @classmethod
    def from_songs(cls, dataset: SongSource, numbers: np.ndarray) -> "Targets":
        """Read the songs of a dataset and label their targets."""
        vocabulary = dataset.vocabulary
        parts: dict[str, list[np.ndarray]] = {}
        seconds = []
        for number in numbers.tolist():
            song = dataset.song(number)
            decoded = decode_song(dataset, number)
            seconds.append(float(decoded.seconds(decoded.end)))
            for name, labels in _labels(song, vocabulary).items():
                parts.setdefault(name, []).append(labels)
        flat = {name: np.concatenate(labels) for name, labels in parts.items()}
        ids, meters, sizes = np.unique(flat.pop("meters"), return_inverse=True, return_counts=True)
        order = np.argsort(-sizes, kind="stable")
        names = [vocabulary.names[token].removeprefix("m") for token in ids[order]]
        return cls(
            meters=np.argsort(order)[meters],
            meter_names=tuple(names) if vocabulary.meters else ("4/4",),
            seconds=np.array(seconds),
            **flat,
        )


def _labels(song: EncodedSong, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """The arrays of `Targets` for one song; meters as token ids."""
    tokens = song.tokens.astype(np.int64)
    kind = vocabulary.kind(tokens)
    numbers = np.array([KIND_NUMBERS.get(kind, -1) for kind in Kind])
    instruments = song.instruments.astype(np.int64)
    family = np.where(instruments < PROGRAMS, instruments // 8, len(FAMILIES))
    last_meter = np.maximum.accumulate(np.where(kind == Kind.METER, np.arange(len(tokens)), 0))
    default = vocabulary.meter_id(4, 4) if vocabulary.meters else vocabulary.sos
    positions = np.searchsorted(POSITION_EDGES, np.arange(len(tokens) - 1), side="right") - 1
    return {
        "kinds": numbers[kind[1:]],
        "families": np.where(instruments == NO_INSTRUMENT, -1, family)[1:],
        "meters": np.where(last_meter > 0, tokens[last_meter], default)[1:],
        "positions": positions,
        "notes": vocabulary.is_note(tokens[1:]).astype(np.int64),
        "instrument_targets": vocabulary.has_instrument(tokens[1:]).astype(np.int64),
    }


def overall(losses: SongLosses, targets: Targets) -> dict[str, Estimate]:
    """The loss, each head's own loss, bits per note and bits per second of music."""
    total, songs = losses.total, losses.songs
    ones = np.ones(len(songs))
    wanted = {"loss": (total, ones)}
    counts = {
        "tokens": ones,
        "instruments": targets.instrument_targets,
        "velocities": targets.notes,
    }
    for name, head in losses.heads.items():
        wanted[name] = head, counts[name]
    wanted["bits_per_note"] = total / math.log(2), targets.notes
    seconds = targets.seconds / np.diff(losses.starts)  # a song's duration, shared by its targets
    wanted["bits_per_second"] = total / math.log(2), seconds[songs]
    one_group = np.zeros(len(songs), np.int64)
    found = {n: mean_losses(songs, one_group, *v, size=1)[0] for n, v in wanted.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def breakdowns(losses: SongLosses, targets: Targets) -> dict[str, dict[str, Estimate]]:
    """The loss by kind of token, position in the song, instrument family, and meter.

    In nats per target; by family in nats per note, its pitch, instrument and duration together.
    """
    ones = np.ones(len(targets.kinds))
    wanted = {
        "token": (targets.kinds, KINDS, ones),
        "position": (targets.positions, POSITION_NAMES, ones),
        "family": (targets.families, FAMILY_NAMES, targets.notes),
        "meter": (targets.meters, targets.meter_names, ones),
    }
    found, songs, total = {}, losses.songs, losses.total
    for title, (groups, names, counts) in wanted.items():
        rows = mean_losses(songs, groups, total, counts, size=len(names))
        found[title] = {n: row for n, row in zip(names, rows, strict=True) if row is not None}
    return found
