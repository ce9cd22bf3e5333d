"""Write what an order asks for, bar by bar, for pages that may go away at any time."""

import json
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from shards.bars import Bars
from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError
from shards.song import Song
from shards.text import visible
from trainer.generation.task import Request, Task
from trainer.generation.trained import TrainedModel
from trainer.play.order import Order
from trainer.play.takes import Takes

AT_ONCE = 3
"""Orders written at the same time, each by a page of its own; two cores have enough to do."""
WAIT_SECONDS = 20.0
"""Another order waits so long for one of them to end, before it is refused."""


class Writer:
    """Writes songs with a model, a few orders at a time.

    Args:
        model: to write with.
        takes: where the songs go.
    """

    def __init__(self, model: TrainedModel, takes: Takes) -> None:
        self._model, self._takes = model, takes
        self._codec = Codec(model.run.vocabulary)
        self._places = threading.Semaphore(AT_ONCE)
        self._stops: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def write(self, order: Order, is_gone: Callable[[], bool]) -> Generator[bytes, None, None]:
        """Write an order; yields lines of JSON, each about one take.

        A line has the take's number within the order, its id, whether it is `done`, and its
        finished bars: all of their notes from the step `since` on, which replace those there.
        The last line may be an `error` instead, in one sentence.

        Args:
            order: what to write.
            is_gone: whether nobody reads the lines any more; asked after each token.
        """
        try:
            with self._place(order.page) as stopped:
                for line in self._lines(order, lambda: stopped.is_set() or is_gone()):
                    yield json.dumps(line, separators=(",", ":")).encode() + b"\n"
        except (LakhxlError, OSError) as error:
            yield json.dumps({"error": visible(error)}).encode() + b"\n"

    def stop(self, page: str) -> None:
        """End what is written for a page, at the next token."""
        with self._lock:
            if event := self._stops.get(page):
                event.set()

    @contextmanager
    def _place(self, page: str) -> Iterator[threading.Event]:
        """One of the places, with what stops the writing in it: the page's next order does."""
        mine = threading.Event()
        self.stop(page)
        with self._lock:
            self._stops[page] = mine
        try:
            if not self._places.acquire(timeout=WAIT_SECONDS):
                raise LakhxlError(f"{AT_ONCE} pages write at the moment: try again soon")
            try:
                yield mine
            finally:
                self._places.release()
        finally:
            with self._lock:
                if self._stops.get(page) is mine:
                    del self._stops[page]

    def _lines(self, order: Order, stopped: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        task, network = self._task(order), self._model.network
        samplers = task.samplers(network)
        keys = [self._takes.new_id() for _ in samplers]
        shown = [(-1, False)] * len(samplers)  # finished bars, and whether the song is done
        sent = [0] * len(samplers)  # the step from which on no note was sent
        for _ in task.steps(samplers, network):
            if stopped():
                break
            for number, (sampler, key) in enumerate(zip(samplers, keys, strict=True)):
                state = sampler.finished_bars, sampler.done
                if state == shown[number] or (song := sampler.song()) is None:
                    continue
                self._takes.put(key, song)
                line, shown[number] = self._line(song, sampler.finished_bars, sent[number]), state
                if line["notes"]:
                    sent[number] = line["notes"][-1][0] + 1
                yield {"number": number, "id": key, "done": sampler.done, **line}

    def _task(self, order: Order) -> Task:
        request = Request(
            prompt=self._takes.get(order.take) if order.take else None,
            prompt_bars=order.keep_bars,
            infill=order.infill,
            parts=order.parts,
            accompany=order.accompany,
        )
        return Task(self._model.run, order.config, request)

    def _line(self, encoded: EncodedSong, bars: int, since: int) -> dict[str, Any]:
        song = self._codec.decode(encoded)
        lines = Bars(song.meters, self._model.run.vocabulary.bar_steps)
        until = int(lines.first_steps(np.array([bars]))[0])
        return {**plain(song, since), "bars": bars, "until": until}

    def open(self, song: EncodedSong) -> dict[str, Any]:
        """Keep a song that was not written here; its line, as of `write`."""
        key, bars = self._takes.new_id(), int(song.bars[-1]) + 1
        self._takes.put(key, song)
        return {"number": 0, "id": key, "done": True, **self._line(song, bars, 0)}


def plain(song: Song, since: int = 0) -> dict[str, Any]:
    """A song's notes from a step on, and its meters and tempos, as lists."""
    notes = song.notes[song.notes["start"] >= since]
    columns = ["start", "duration", "instrument", "pitch", "velocity"]
    return {
        "since": since,
        "notes": [list(note) for note in notes[columns].tolist()],
        "meters": [list(meter) for meter in song.meters.tolist()],
        "tempos": [list(tempo) for tempo in song.tempos.tolist()],
    }
