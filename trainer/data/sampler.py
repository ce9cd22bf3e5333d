"""Which lane plays which song when: the ragged contiguous sampler.

A lane plays one song's consecutive blocks, then the next song's, so that what a block leaves in
the memory belongs to the block after it. Songs are handed out in the epoch's order: whichever
lane is free first takes the next one (the lowest of several), which keeps the lanes balanced to
within one song.

Conventions
    lane    one row of the batch
    block   the part of a song, or of several, that one step feeds to one lane
    unit    what songs are measured in: blocks in modes crop and pad, tokens in mode join
    time    units that a lane has played since the epoch's first step
    segment_id   one playing of one song; its number never comes again, in any epoch

Everything is a function of (seed, epoch, step): nothing is drawn on the way, and any position
opens at once.
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


NOTHING = -1
"""Song of a piece in which a lane is idle."""

PADDING = -2
"""Visit of a position that nothing is played at. The memory's own "nothing here" is another
number, so that padding never looks into the memory."""


class Piece(NamedTuple):
    """Tokens [start, stop) of one song, within one block."""

    song: int
    start: int
    stop: int
    segment_id: int


@dataclass(frozen=True)
class Turns:
    """The songs of one lane in order of time; three lists of one length.

    Attributes:
        times: when each begins; below 0 where an earlier epoch began it.
        songs: which it is.
        segment_ids: the number of the segment_id.
    """

    times: list[int]
    songs: list[int]
    segment_ids: list[int]


@dataclass(frozen=True)
class Plan:
    """Who plays what in one epoch.

    Attributes:
        lanes: the songs of each lane.
        free: when the last song of each lane ends.
        steps: steps in the epoch.
    """

    lanes: list[Turns]
    free: list[int]
    steps: int


class ContiguousBatchSampler(Sampler[list[Any]]):
    """Yields the batches of one epoch, one entry a lane; use as `DataLoader(batch_sampler=…)`.

    In modes crop and pad an entry is `(song, block)`, in mode join the tuple of `Piece` that
    fill the block. A lane that has nothing to play (tail drain only) gets None.

    Args:
        lengths: tokens of each song that can be an input, that is, that have a next one; with
            the default `block_size` of 1 the same as blocks. Songs of length 0 are left out.
        batch_size: lanes.
        block_size: tokens in a block.
        mode: crop (drop what does not fill a song's last block), pad (leave it part empty), or
            join (the next song starts in the same block, so nothing is dropped or empty).
        tail: drop (stop when a lane finds no new song), drain (until every song has ended), or
            wrap (a free lane takes the first song of the next epoch; no lane is ever idle).
        seed: order of the songs, a new one each epoch; None keeps the order given.

    Raises:
        ValueError: a length is negative, or a number of lanes or tokens below 1, or an unknown
            mode or tail; or tail wrap and no song to play, which would never end.
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
        self._plans: dict[int, Plan] = {}
        self.epoch = self.step = 0

    def __len__(self) -> int:
        """Steps in the current epoch."""
        return self.plan(self.epoch).steps

    def __iter__(self) -> Iterator[list[Any]]:
        """Batches from the current position to the end of the epoch; then the next is current."""
        for pieces in self.walk():
            yield pieces if self.mode == "join" else [self._block(lane) for lane in pieces]

    def walk(self) -> Iterator[list[tuple[Piece, ...] | None]]:
        """The same, but for every mode as `pieces` has it."""
        epoch = self.epoch
        for step in range(self.step, len(self)):
            self.step = step + 1
            yield self.pieces(epoch, step)
        self.set_epoch(epoch + 1)

    def _block(self, pieces: tuple[Piece, ...] | None) -> tuple[int, int] | None:
        return (pieces[0].song, pieces[0].start // self.block_size) if pieces else None

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
        """The songs of an epoch as they are handed out; those with nothing to play left out."""
        if self.seed is None:
            return self._songs
        return np.random.default_rng([self.seed, epoch]).permutation(self._songs)

    def plan(self, epoch: int) -> Plan:
        """Who plays what in an epoch.

        With tail wrap an epoch starts with what the one before has left running, so opening
        epoch n plans those before it too: 0.1 s each for 178,561 songs.
        """
        if epoch not in self._plans:
            before = None
            if self.tail == "wrap" and epoch > 0:
                start = max((known for known in self._plans if known < epoch), default=0)
                for earlier in range(start, epoch):
                    before = self._plans.get(earlier) or self._make_plan(earlier, before)
            self._plans = {epoch: self._make_plan(epoch, before)}
        return self._plans[epoch]

    def _make_plan(self, epoch: int, before: Plan | None) -> Plan:
        running, free = self._left_running(before)
        order = self.order(epoch)
        taken = _hand_out(self._units[order].tolist(), free)
        times, lanes = np.divmod(np.array(taken, np.int64), self.batch_size)
        segment_ids = epoch * len(self.lengths) + np.arange(len(order))
        plan = []
        for lane, left in enumerate(running):
            mine = lanes == lane
            columns = zip(left, (times, order, segment_ids), strict=True)
            plan.append(Turns(*(old + column[mine].tolist() for old, column in columns)))
        end = -(-max(free) // self._block_units)
        return Plan(plan, free, end if self.tail == "drain" else min(free) // self._block_units)

    def _left_running(self, before: Plan | None) -> tuple[list[tuple[list[int], ...]], list[int]]:
        """Times, songs and segment_ids that an epoch left unfinished, and when each lane is free."""
        if before is None:
            return [([], [], [])] * self.batch_size, [0] * self.batch_size
        end = before.steps * self._block_units
        running = []
        for turns, free in zip(before.lanes, before.free, strict=True):
            ends = [*turns.times[1:], free]  # a lane is never idle in between
            first = bisect_right(ends, end)
            times = [time - end for time in turns.times[first:]]
            running.append((times, turns.songs[first:], turns.segment_ids[first:]))
        return running, [time - end for time in before.free]

    def pieces(self, epoch: int, step: int) -> list[tuple[Piece, ...] | None]:
        """What each lane plays in one step, in tokens; None for a lane that is idle."""
        played = [
            tuple(piece for piece in lane if piece.song != NOTHING)
            for lane in self.span(epoch, step, 1)
        ]
        return [lane or None for lane in played]

    def spans(self, steps: int) -> Iterator[tuple[dict[str, int], int, list[list[Piece]]]]:
        """The rest of the epoch, so many steps at once; then the next epoch is current.

        Yields:
            The position of the first step, how many steps there are, and of `span` the pieces.
        """
        while self.step < len(self):
            begin, count = self.state_dict(), min(steps, len(self) - self.step)
            self.step += count
            yield begin, count, self.span(begin["epoch"], begin["step"], count)
        self.set_epoch(self.epoch + 1)

    def span(self, epoch: int, step: int, steps: int) -> list[list[Piece]]:
        """What each lane plays in so many steps from one on, gaps included.

        A song that goes on through several steps is one piece; a gap is one of NOTHING.
        """
        plan = self.plan(epoch)
        first = step * self._block_units
        last = first + steps * self._block_units
        return [self._lane_pieces(turns, first, last) for turns in plan.lanes]

    def _lane_pieces(self, turns: Turns, first: int, last: int) -> list[Piece]:
        """The parts of a lane's songs that lie in times [first, last), one after the other."""
        scale = self.block_size // self._block_units  # tokens a unit
        pieces, filled, whole = [], 0, (last - first) * scale
        for at in range(max(bisect_right(turns.times, first) - 1, 0), len(turns.times)):
            time, song = turns.times[at], turns.songs[at]
            if time >= last:
                break
            start = (max(first, time) - time) * scale
            end = min(int(self._units[song]) * scale, int(self.lengths[song]))
            stop = min((last - time) * scale, end)
            if start < stop:
                begin = (max(first, time) - first) * scale
                if begin > filled:
                    pieces.append(_gap(begin - filled))
                pieces.append(Piece(song, start, stop, turns.segment_ids[at]))
                filled = begin + stop - start
        if filled < whole:
            pieces.append(_gap(whole - filled))
        return pieces


def _gap(tokens: int) -> Piece:
    return Piece(NOTHING, 0, tokens, PADDING)


def _hand_out(units: list[int], free: list[int]) -> list[int]:
    """Give each song to the lane that is free first; `free` is brought up to date.

    Returns:
        For each song time * lanes + lane, which orders by time, then by lane.
    """
    heap = [time * len(free) + lane for lane, time in enumerate(free)]
    heapq.heapify(heap)
    taken = []
    for length in units:
        taken.append(heap[0])
        heapq.heapreplace(heap, heap[0] + length * len(free))
    for key in heap:
        free[key % len(free)] = key // len(free)
    return taken
