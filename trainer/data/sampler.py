"""Which lane plays which song when: the ragged contiguous sampler.

A lane plays one song's consecutive blocks, then the next song's, so that the memory a block leaves
belongs to the block after it. Songs are assigned in the epoch's order, each to the lane that is
free first (the lowest-numbered of several), so that lanes end within one song of each other.

Conventions
    lane        one row of the batch
    block       the tokens that one step feeds to one lane
    span        tokens [start, stop) of one song in one lane
    unit        what lengths and times are counted in: blocks in modes crop and pad, tokens in join
    time        units since the epoch's first step
    segment_id  numbers the playings of songs; never used twice, in any epoch

Everything is a function of (seed, epoch, step): no state is needed to start at any position.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Sampler

MODES = ("crop", "pad", "join")
TAILS = ("drop", "drain", "wrap")

NO_SONG = -1
"""Song of a span in which a lane is idle."""

PADDING = -2
"""segment_id of padding. Differs from that of empty memory slots, so padding never attends to
them."""


class Span(NamedTuple):
    """Tokens [start, stop) of one song, within one lane."""

    song: int
    start: int
    stop: int
    segment_id: int


@dataclass(frozen=True)
class LanePlan:
    """The songs of one lane in order of time; three lists of one length.

    Attributes:
        starts: time at which each song begins; negative where an earlier epoch began it.
        songs: their numbers.
        segment_ids: their segment_ids.
    """

    starts: list[int]
    songs: list[int]
    segment_ids: list[int]


@dataclass(frozen=True)
class EpochPlan:
    """The songs of all lanes in one epoch.

    Attributes:
        lanes: the songs of each lane.
        ends: time at which the last song of each lane ends.
        steps: number of steps in the epoch.
    """

    lanes: list[LanePlan]
    ends: list[int]
    steps: int


class ContiguousBatchSampler(Sampler[list[Any]]):
    """Yields the batches of one epoch, one entry per lane; for `DataLoader(batch_sampler=…)`.

    In modes crop and pad an entry is `(song, block)`, in mode join the tuple of `Span` that fills
    the block. An idle lane (only with tail drain) gets None.

    Args:
        lengths: tokens of each song that can be an input, that is, that have a next token; with
            the default `block_size` of 1 this equals blocks. Songs of length 0 are skipped.
        batch_size: lanes.
        block_size: tokens in a block.
        mode: crop (drop a song's last block if it is not full), pad (keep it, partly filled), or
            join (the next song starts in the same block, so nothing is dropped or padded).
        tail: drop (stop when a lane finds no new song), drain (until every song has ended), or
            wrap (a free lane takes the first song of the next epoch; no lane is ever idle).
        seed: shuffles the songs anew in each epoch; None keeps the order given.

    Raises:
        ValueError: a length is negative, a number of lanes or tokens is below 1, a mode or tail
            is unknown, or tail is wrap and every song is empty, which would never end.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        batch_size: int,
        *,
        block_size: int = 1,
        mode: str = "pad",
        tail: str = "drop",
        seed: int | None = None,
    ) -> None:
        if mode not in MODES or tail not in TAILS:
            raise ValueError(f"expected a mode of {MODES} and a tail of {TAILS}: {mode=}, {tail=}")
        if batch_size < 1 or block_size < 1:
            raise ValueError(f"expected at least 1: {batch_size=}, {block_size=}")
        self.lengths = np.asarray(lengths, np.int64)
        if self.lengths.size and self.lengths.min() < 0:
            raise ValueError(f"song {self.lengths.argmin()} has length {self.lengths.min()}")
        self.batch_size, self.block_size = batch_size, block_size
        self.mode, self.tail, self.seed = mode, tail, seed
        self._units = {
            "crop": self.lengths // block_size,
            "pad": -(-self.lengths // block_size),
            "join": self.lengths,
        }[mode]
        self._block_units = block_size if mode == "join" else 1
        self._songs = np.flatnonzero(self._units)
        if tail == "wrap" and not len(self._songs):
            raise ValueError("no song has anything to play")
        self._plans: dict[int, EpochPlan] = {}
        self.epoch = self.step = 0

    @property
    def playable(self) -> np.ndarray:
        """Tokens of each song that are played, without a last block that mode crop drops."""
        scale = self.block_size // self._block_units
        return np.minimum(self._units * scale, self.lengths)

    def __len__(self) -> int:
        """Steps in the current epoch."""
        return self.plan(self.epoch).steps

    def __iter__(self) -> Iterator[list[Any]]:
        """Batches from the current position to the epoch's end; then the next epoch is current."""
        for lanes in self.iter_steps():
            yield lanes if self.mode == "join" else [self._as_block(spans) for spans in lanes]

    def iter_steps(self) -> Iterator[list[tuple[Span, ...] | None]]:
        """As `__iter__`, but with entries as those of `spans` in every mode."""
        epoch = self.epoch
        for step in range(self.step, len(self)):
            self.step = step + 1
            yield self.spans(epoch, step)
        self.set_epoch(epoch + 1)

    def _as_block(self, spans: tuple[Span, ...] | None) -> tuple[int, int] | None:
        return (spans[0].song, spans[0].start // self.block_size) if spans else None

    def set_epoch(self, epoch: int) -> None:
        """Go to the first step of an epoch."""
        self.epoch, self.step = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """The position of the next batch."""
        return {"epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to a position."""
        self.epoch, self.step = state["epoch"], state["step"]

    def order(self, epoch: int) -> np.ndarray:
        """The songs of an epoch in the order they are assigned; without empty ones."""
        if self.seed is None:
            return self._songs
        return np.random.default_rng([self.seed, epoch]).permutation(self._songs)

    def plan(self, epoch: int) -> EpochPlan:
        """Which lane plays which song in an epoch.

        With tail wrap an epoch starts with the songs that the one before has not finished, so
        opening epoch n plans all earlier ones too: 0.1 s each for 178,561 songs.
        """
        if epoch not in self._plans:
            before = None
            if self.tail == "wrap" and epoch > 0:
                start = max((known for known in self._plans if known < epoch), default=0)
                for earlier in range(start, epoch):
                    before = self._plans.get(earlier) or self._make_plan(earlier, before)
            self._plans = {epoch: self._make_plan(epoch, before)}
        return self._plans[epoch]

    def _make_plan(self, epoch: int, before: EpochPlan | None) -> EpochPlan:
        unfinished, ends = self._unfinished(before)
        order = self.order(epoch)
        assigned = _assign_lanes(self._units[order].tolist(), ends)
        starts, lane_of = np.divmod(np.array(assigned, np.int64), self.batch_size)
        segment_ids = epoch * len(self.lengths) + np.arange(len(order))
        lanes = []
        for lane, left in enumerate(unfinished):
            is_mine = lane_of == lane
            columns = zip(left, (starts, order, segment_ids), strict=True)
            lanes.append(LanePlan(*(old + column[is_mine].tolist() for old, column in columns)))
        last = -(-max(ends) // self._block_units)
        steps = last if self.tail == "drain" else min(ends) // self._block_units
        return EpochPlan(lanes, ends, steps)

    def _unfinished(
        self, before: EpochPlan | None
    ) -> tuple[list[tuple[list[int], ...]], list[int]]:
        """What an epoch left to play.

        Returns:
            For each lane the starts, songs and segment_ids of what is unfinished; and the time at
            which each lane is free, in the time of the next epoch.
        """
        if before is None:
            return [([], [], [])] * self.batch_size, [0] * self.batch_size
        end = before.steps * self._block_units
        unfinished = []
        for lane, lane_end in zip(before.lanes, before.ends, strict=True):
            song_ends = [*lane.starts[1:], lane_end]  # a lane is never idle in between
            first = bisect_right(song_ends, end)
            starts = [start - end for start in lane.starts[first:]]
            unfinished.append((starts, lane.songs[first:], lane.segment_ids[first:]))
        return unfinished, [lane_end - end for lane_end in before.ends]

    def spans(self, epoch: int, step: int) -> list[tuple[Span, ...] | None]:
        """What each lane plays in one step; None for an idle lane."""
        lanes = self.spans_and_gaps(epoch, step, 1)
        return [tuple(span for span in lane if span.song != NO_SONG) or None for lane in lanes]

    def iter_step_ranges(
        self, steps: int
    ) -> Iterator[tuple[dict[str, int], int, list[list[Span]]]]:
        """The rest of the epoch, `steps` steps at once; then the next epoch is current.

        Yields:
            The position of the first step, the number of steps, and `spans_and_gaps` of them.
        """
        while self.step < len(self):
            position, count = self.state_dict(), min(steps, len(self) - self.step)
            self.step += count
            yield position, count, self.spans_and_gaps(position["epoch"], position["step"], count)
        self.set_epoch(self.epoch + 1)

    def spans_and_gaps(self, epoch: int, step: int, steps: int) -> list[list[Span]]:
        """What each lane plays in `steps` steps from `step` on; idle time is a span of NO_SONG.

        A song that continues through several steps is one span.
        """
        first = step * self._block_units
        last = first + steps * self._block_units
        return [self._lane_spans(lane, first, last) for lane in self.plan(epoch).lanes]

    def _lane_spans(self, lane: LanePlan, first: int, last: int) -> list[Span]:
        """What a lane plays in times [first, last), gaps included."""
        scale = self.block_size // self._block_units  # tokens per unit
        spans, filled, total = [], 0, (last - first) * scale
        for at in range(max(bisect_right(lane.starts, first) - 1, 0), len(lane.starts)):
            time, song = lane.starts[at], lane.songs[at]
            if time >= last:
                break
            start = (max(first, time) - time) * scale
            end = min(int(self._units[song]) * scale, int(self.lengths[song]))
            stop = min((last - time) * scale, end)
            if start < stop:
                begin = (max(first, time) - first) * scale
                if begin > filled:
                    spans.append(_gap(begin - filled))
                spans.append(Span(song, start, stop, lane.segment_ids[at]))
                filled = begin + stop - start
        if filled < total:
            spans.append(_gap(total - filled))
        return spans


def _gap(tokens: int) -> Span:
    return Span(NO_SONG, 0, tokens, PADDING)


def _assign_lanes(units: list[int], ends: list[int]) -> list[int]:
    """Assign each song to the lane that is free first; `ends` is updated in place.

    Returns:
        For each song its start * lanes + lane, which sorts by start, then by lane.
    """
    heap = [time * len(ends) + lane for lane, time in enumerate(ends)]
    heapq.heapify(heap)
    assigned = []
    for length in units:
        assigned.append(heap[0])
        heapq.heapreplace(heap, heap[0] + length * len(ends))
    for key in heap:
        ends[key % len(ends)] = key // len(ends)
    return assigned
