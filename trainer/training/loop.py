"""`trainer fit`: train, look now and then, save, and stop cleanly when asked to."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

import torch
from tqdm import tqdm

from shards.console import progress_bar
from shards.errors import LakhxlError
from trainer import device as devices
from trainer.generation.generate import SampleConfig, generate
from trainer.model.knn import file as knn_file
from trainer.model.loss import LossSums, to_rows
from trainer.run import checkpoint
from trainer.run.folder import Run
from trainer.training.metrics_log import Board, NoBoard, has_line, place_losses
from trainer.training.trainer import Scores, Trainer


class StopRequest:
    """Ctrl-C or SIGTERM, noted instead of obeyed; a second one is obeyed at once.

    Args:
        patient: obey no second one either: whoever started several processes passes on to each
            what the terminal has told them all already.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, *, patient: bool = False) -> None:
        self.asked, self._patient = False, patient
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # others may not
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if not self._patient:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class Fit:
    """One call of `trainer fit`.

    Args:
        trainer: fresh, or loaded from the run's last checkpoint.
        run: the folder to write to.
        state: of that checkpoint; empty for a fresh run.
    """

    def __init__(self, trainer: Trainer, run: Run, state: dict[str, Any]) -> None:
        self.trainer, self.run, self.train = trainer, run, trainer.config.train
        self.ranks = trainer.ranks
        self.best: float | None = state.get("best")
        self.evaluated: int | None = state.get("evaluated")
        self.last_valid: dict[str, Any] = state.get("valid", {})
        self.since_best: int = state.get("since_best", 0)
        self._saved: int | None = trainer.step if state else None
        self._unread: list[LossSums] = []
        self._sums: list[float] = state.get("sums", [0.0] * len(LossSums._fields))
        self._clock, self._timed_steps, self._waited = time.perf_counter(), 0, 0.0

    def go(self, yardstick: dict[str, float], *, until: int | None = None) -> bool:
        """Train up to the last step, or `until`.

        Args:
            yardstick: of `trainer.training.unigram_baseline`, for the board.
            until: stop after this many steps, as Ctrl-C would.

        Returns:
            Whether it has ended: all steps are done, or patience is, and the last validation is
            whole. False where it was stopped.
            Either way the last step is saved.
        """
        last = self.train.steps if until is None else min(until, self.train.steps)
        board = Board(self.run, step=self.trainer.step) if self.ranks.first else NoBoard()
        bar = progress_bar(
            total=self.train.steps,
            initial=self.trainer.step,
            unit="step",
            smoothing=0.05,
            disable=not self.ranks.first,
        )
        self._clock = time.perf_counter()
        with board, bar, StopRequest(patient=self.ranks.count > 1) as stop:
            if self.trainer.step == 0:
                board.write(0, "unigram", yardstick)
            while True:
                with self._clock_stopped():
                    self._evaluate_if_due(board, lambda: stop.asked)
                    asked = self.ranks.any(stop.asked)
                    done = self.trainer.step >= last or asked or self._out_of_patience
                    self._save_if_due(final=done)
                if done:
                    return self._conclude(board, lambda: stop.asked)
                self._step(board, bar)

    def _step(self, board: Board, bar: tqdm) -> None:
        rate = self.trainer.rate
        try:
            measure = (self.trainer.step + 1) % self.train.log_every == 0
            self._unread.append(self.trainer.train_step(measure=measure))
        except torch.OutOfMemoryError:
            raise LakhxlError(
                f"{self.trainer.device} has too little memory for {self.train.batch_size} lanes of "
                f"{self.train.block_size} tokens: train anew with a lower --set batch"
            ) from None
        self._timed_steps += 1
        bar.update()
        if self.trainer.step % self.train.log_every == 0:
            self._log(board, bar, rate)

    def _log(self, board: Board, bar: tqdm, rate: float) -> None:
        self._read_tallies()
        tally = LossSums(*torch.tensor(self._sums, dtype=torch.float64))
        positions = self.train.log_every * self.trainer.tokens_per_step
        self._sums = [0.0] * len(self._sums)
        figures = tally.means() | {
            "rate": rate,
            "gradient": float(self.trainer.gradient),
            "update": float(self.trainer.update),
            "epoch": self.trainer.epoch,
            "utilisation": float(tally.targets) / positions,
            **self.trainer.neighbour_figures(),
        }
        measured = self._measure()
        board.write(self.trainer.step, "train", {**figures, **measured})
        speed = measured["tokens_per_second"]
        shown = {"loss": f"{figures['loss']:.3f}", "tokens/s": f"{speed:,.0f}"}
        if self.last_valid:
            shown["valid"] = f"{self.last_valid['loss']:.3f}"
        bar.set_postfix(shown, refresh=False)

    def _read_tallies(self) -> None:
        """Wait for the device, and add what it has scored; a loss that is no number ends the run.

        Added one by one in order, so that a run gives the same sums however often it was saved
        in between.
        """
        rows = torch.tensor(to_rows(self._unread), dtype=torch.float64)
        for row in self.ranks.sum(rows).tolist():
            self._sums = [a + b for a, b in zip(self._sums, row, strict=True)]
        self._unread = []
        if not all(map(math.isfinite, self._sums)):
            raise LakhxlError(
                f"the loss at step {self.trainer.step} is not a number: train anew with a lower "
                "--set lr"
            )

    def _measure(self) -> dict[str, float]:
        """What depends on the machine: speed, share of waiting for data, memory in use.

        Since the last time; validation and saving are not counted.
        """
        seconds = time.perf_counter() - self._clock
        positions = self._timed_steps * self.trainer.tokens_per_step
        waited = self.trainer.waited - self._waited
        self._waited = self.trainer.waited
        self._clock, self._timed_steps = time.perf_counter(), 0
        return {
            "tokens_per_second": positions / seconds,
            "waiting": waited / seconds,
            "memory_mb": devices.memory_in_use(self.trainer.device) / 1e6,
        }

    @contextmanager
    def _clock_stopped(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self._clock += time.perf_counter() - begun

    def _evaluate_if_due(self, board: Board, stopped: Callable[[], bool]) -> None:
        step = self.trainer.step
        due = step == self.train.steps or (step > 0 and step % self.train.evaluate_every == 0)
        if not due or self.evaluated == step:
            return
        scored = self._validate(self.train.evaluate_batches, stopped)
        if scored is None:
            return
        self.evaluated = step
        self._saved = None  # a checkpoint of this step, if any, does not know of it
        self._report(board, "valid", scored)
        self._time_search(board)
        self._draw_sample(board)
        self.since_best += 1
        if self.best is None or self.last_valid["loss"] < self.best:
            self.best, self.since_best = self.last_valid["loss"], 0
            self._save_best()

    def _report(self, board: Board, group: str, scored: Scores) -> None:
        """Write what a validation has found."""
        self.last_valid = {**scored.means(), "loss_by_position": place_losses(scored.places)}
        board.write(self.trainer.step, group, self.last_valid)
        board.draw_places(self.trainer.step, self.last_valid["loss_by_position"])

    def _time_search(self, board: Board) -> None:
        seconds = self.trainer.search_seconds()
        if seconds is not None:
            board.write(self.trainer.step, "knn", {"search_ms": 1000 * seconds})

    def _draw_sample(self, board: Board) -> None:
        """Let the model write a few bars, and draw them."""
        if self.train.sample_bars == 0 or not self.ranks.first:
            return
        config = SampleConfig(
            bars=self.train.sample_bars, tokens=64 * self.train.sample_bars, seed=self.train.seed
        )
        model = self.trainer.model.eval()
        try:
            (song,) = generate(model, self.run.vocabulary, config, block_size=self.train.block_size)
        finally:
            model.train()
        board.draw_song(self.trainer.step, song)

    @property
    def _out_of_patience(self) -> bool:
        patience = self.train.patience
        return patience is not None and self.since_best >= patience

    def _validate(self, batches: int | None, stopped: Callable[[], bool]) -> Scores | None:
        whole = self.trainer.validation_batches
        total = whole if batches is None else min(batches, whole)
        quiet = {"leave": False, "disable": not self.ranks.first}
        with progress_bar(total=total, desc="validating", unit="batch", **quiet) as bar:
            return self.trainer.evaluate(batches=batches, stopped=stopped, advance=bar.update)

    def _conclude(self, board: Board, stopped: Callable[[], bool]) -> bool:
        """After the last step, score the whole split, where the others saw a part of it.

        Returns:
            Whether the run has ended; not where its last validation was stopped, which is done
            again when the run goes on.
        """
        ended = self.trainer.step == self.train.steps or self._out_of_patience
        if not ended or self.evaluated != self.trainer.step:
            return False
        if self.train.evaluate_batches is not None:
            scored = self._validate(None, stopped)
            if scored is None:
                return False
            self._report(board, "valid_whole", scored)
        board.conclude(self.last_valid)
        return True

    def _save_if_due(self, *, final: bool) -> None:
        step = self.trainer.step
        due = step % self.train.checkpoint_every == 0 and step > 0
        if (due or final) and self._saved != step:
            self._read_tallies()
            folder = self.run.checkpoints
            seal = self.trainer.save_store(knn_file.database_file(folder, "train", step))
            path, tensors = checkpoint.step_file(folder, step), self.trainer.tensors()
            self._saved = step
            if self.ranks.first:
                checkpoint.save(path, tensors, {**self._state(), "knn_seal": seal})
                checkpoint.drop_old(folder, self.train.keep_checkpoints)
                knn_file.drop_orphans(folder, checkpoint.steps(folder))

    def _save_best(self) -> None:
        if not self.ranks.first:
            return
        path = self.run.checkpoints / checkpoint.BEST
        checkpoint.save(path, checkpoint.model_tensors(self.trainer.model), self._state())

    def _state(self) -> dict[str, Any]:
        return {
            **self.trainer.state(),
            "best": self.best,
            "evaluated": self.evaluated,
            "since_best": self.since_best,
            "valid": self.last_valid,
            "sums": self._sums,
        }


def has_ended(run: Run, state: Mapping[str, Any]) -> bool:
    """Whether a run has nothing left to do: all its steps, and its last validation.

    Args:
        run: the run.
        state: of its last checkpoint.
    """
    step, train = state["step"], run.config.train
    if step < train.steps or state["evaluated"] != step:
        return False
    return train.evaluate_batches is None or has_line(run.metrics, step, "valid_whole")
