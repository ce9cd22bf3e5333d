"""The training loop of `trainer fit`: train, log, validate, save, and stop cleanly on request."""

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
from trainer.training.metrics_log import (
    MetricsLog,
    NullMetricsLog,
    has_line,
    mean_loss_by_position,
)
from trainer.training.trainer import Trainer, ValidationLosses


class StopRequest:
    """Turns Ctrl-C or SIGTERM into a flag; a second one acts as usual, at once.

    Args:
        ignore_second: keep catching signals. torchrun passes on to each process a Ctrl-C that the
            terminal has already sent to all of them.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, *, ignore_second: bool = False) -> None:
        self.received, self._ignore_second = False, ignore_second
        self._old_handlers: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # others may not set handlers
            self._old_handlers = {
                number: signal.signal(number, self._receive) for number in self.SIGNALS
            }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if not self._ignore_second:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._old_handlers = {}


class TrainingLoop:
    """Trains one run from its last checkpoint to its end.

    Args:
        trainer: new, or loaded from the run's last checkpoint.
        run_folder: where to write.
        state: of that checkpoint; empty for a new run.

    Attributes:
        best: lowest validation loss so far.
        last_validation: metrics of the last validation.
    """

    def __init__(self, trainer: Trainer, run_folder: Run, state: dict[str, Any]) -> None:
        self.trainer, self.run_folder, self.config = trainer, run_folder, trainer.config.train
        self.ranks = trainer.ranks
        self.best: float | None = state.get("best")
        self.last_validation: dict[str, Any] = state.get("valid", {})
        self._validated_step: int | None = state.get("evaluated")
        self._since_best: int = state.get("since_best", 0)
        self._saved_step: int | None = trainer.step if state else None
        self._pending: list[LossSums] = []
        self._sums: list[float] = state.get("sums", [0.0] * len(LossSums._fields))
        self._timer, self._timed_steps, self._timed_wait = time.perf_counter(), 0, 0.0

    def run(self, baseline: dict[str, float], *, until: int | None = None) -> bool:
        """Train up to the last step, or to step `until`, and save a checkpoint there.

        Args:
            baseline: of `trainer.training.unigram_baseline`, for the log.
            until: stop after this step, as Ctrl-C would.

        Returns:
            Whether training has ended: all steps are done, or patience has run out, and the last
            validation is complete. False if it was stopped.
        """
        last = self.config.steps if until is None else min(until, self.config.steps)
        is_first = self.ranks.is_first
        log = MetricsLog(self.run_folder, step=self.trainer.step) if is_first else NullMetricsLog()
        bar = progress_bar(
            total=self.config.steps,
            initial=self.trainer.step,
            unit="step",
            smoothing=0.05,
            disable=not is_first,
        )
        self._timer = time.perf_counter()
        with log, bar, StopRequest(ignore_second=self.ranks.count > 1) as stop:
            if self.trainer.step == 0:
                log.write(0, "unigram", baseline)
            while True:
                with self._timer_paused():
                    self._validate_if_due(log, lambda: stop.received)
                    stopped = self.ranks.any(stop.received)
                    done = self.trainer.step >= last or stopped or self._out_of_patience
                    self._save_if_due(final=done)
                if done:
                    return self._finish(log, lambda: stop.received)
                self._step(log, bar)

    def _step(self, log: MetricsLog, bar: tqdm) -> None:
        lr = self.trainer.lr
        is_logged = (self.trainer.step + 1) % self.config.log_every == 0
        try:
            self._pending.append(self.trainer.train_step(measure_update=is_logged))
        except torch.OutOfMemoryError:
            raise LakhxlError(
                f"{self.trainer.device} has too little memory for {self.config.batch_size} lanes "
                f"of {self.config.block_size} tokens: train anew with a lower --set batch_size, "
                "or a higher --set accumulate"
            ) from None
        self._timed_steps += 1
        bar.update()
        if is_logged:
            self._log_step(log, bar, lr)

    def _log_step(self, log: MetricsLog, bar: tqdm, lr: float) -> None:
        self._add_pending()
        sums = LossSums(*torch.tensor(self._sums, dtype=torch.float64))
        positions = self.config.log_every * self.trainer.tokens_per_step
        self._sums = [0.0] * len(self._sums)
        metrics = sums.means() | {
            "lr": lr,
            "grad_norm": float(self.trainer.grad_norm),
            "update_norm": float(self.trainer.update_norm),
            "epoch": self.trainer.epoch,
            "utilisation": float(sums.targets) / positions,
            **self.trainer.knn_metrics(),
            **self._machine_metrics(),
        }
        log.write(self.trainer.step, "train", metrics)
        shown = {
            "loss": f"{metrics['loss']:.3f}",
            "tokens/s": f"{metrics['tokens_per_second']:,.0f}",
        }
        if self.last_validation:
            shown["valid"] = f"{self.last_validation['loss']:.3f}"
        bar.set_postfix(shown, refresh=False)

    def _add_pending(self) -> None:
        """Wait for the device, and add the losses of the steps since the last call.

        In order and one by one, so that a run has the same sums however often it was saved in
        between. A loss that is not a number ends the run.
        """
        rows = torch.tensor(to_rows(self._pending), dtype=torch.float64)
        for row in self.ranks.sum(rows).tolist():
            self._sums = [a + b for a, b in zip(self._sums, row, strict=True)]
        self._pending = []
        if not all(map(math.isfinite, self._sums)):
            raise LakhxlError(
                f"the loss at step {self.trainer.step} is not a number: train anew with a lower "
                "--set lr"
            )

    def _machine_metrics(self) -> dict[str, float]:
        """Speed, fraction of time spent waiting for data, and memory in use.

        Speed and waiting are since the last call, without validation and saving.
        """
        seconds = time.perf_counter() - self._timer
        positions = self._timed_steps * self.trainer.tokens_per_step
        wait = self.trainer.data_wait - self._timed_wait
        self._timed_wait = self.trainer.data_wait
        self._timer, self._timed_steps = time.perf_counter(), 0
        return {
            "tokens_per_second": positions / seconds,
            "data_wait": wait / seconds,
            "memory_mb": devices.memory_in_use(self.trainer.device) / 1e6,
        }

    @contextmanager
    def _timer_paused(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._timer += time.perf_counter() - start

    def _validate_if_due(self, log: MetricsLog, stopped: Callable[[], bool]) -> None:
        step = self.trainer.step
        due = step == self.config.steps or (step > 0 and step % self.config.evaluate_every == 0)
        if not due or self._validated_step == step:
            return
        losses = self._validate(self.config.evaluate_batches, stopped)
        if losses is None:
            return
        self._validated_step = step
        self._saved_step = None  # a checkpoint of this step does not include the validation
        self._log_validation(log, "valid", losses)
        seconds = self.trainer.knn_search_seconds()
        if seconds is not None:
            log.write(step, "knn", {"search_ms": 1000 * seconds})
        self._draw_sample(log)
        self._since_best += 1
        if self.best is None or self.last_validation["loss"] < self.best:
            self.best, self._since_best = self.last_validation["loss"], 0
            self._save_best()

    def _validate(
        self, batches: int | None, stopped: Callable[[], bool]
    ) -> ValidationLosses | None:
        whole = self.trainer.validation_batches
        with progress_bar(
            total=whole if batches is None else min(batches, whole),
            desc="validating",
            unit="batch",
            leave=False,
            disable=not self.ranks.is_first,
        ) as bar:
            return self.trainer.evaluate(batches=batches, stopped=stopped, advance=bar.update)

    def _log_validation(self, log: MetricsLog, split: str, losses: ValidationLosses) -> None:
        by_position = mean_loss_by_position(losses.by_position)
        self.last_validation = {**losses.means(), "loss_by_position": by_position}
        log.write(self.trainer.step, split, self.last_validation)
        log.draw_loss_by_position(self.trainer.step, by_position)

    def _draw_sample(self, log: MetricsLog) -> None:
        """Generate a few bars and draw them."""
        bars = self.config.sample_bars
        if bars == 0 or not self.ranks.is_first:
            return
        config = SampleConfig(bars=bars, tokens=64 * bars, seed=self.config.seed)
        model, vocabulary = self.trainer.model.eval(), self.run_folder.vocabulary
        try:
            (song,) = generate(model, vocabulary, config, block_size=self.config.block_size)
        finally:
            model.train()
        log.draw_song(self.trainer.step, song)

    @property
    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        return patience is not None and self._since_best >= patience

    def _finish(self, log: MetricsLog, stopped: Callable[[], bool]) -> bool:
        """After the last step, validate on the whole split, unless every validation does.

        Returns:
            Whether training has ended. Not if its last validation was stopped; a resumed run
            repeats it.
        """
        ended = self.trainer.step == self.config.steps or self._out_of_patience
        if not ended or self._validated_step != self.trainer.step:
            return False
        if self.config.evaluate_batches is not None:
            losses = self._validate(None, stopped)
            if losses is None:
                return False
            self._log_validation(log, "valid_whole", losses)
        log.write_hparams(self.last_validation)
        return True

    def _save_if_due(self, *, final: bool) -> None:
        step = self.trainer.step
        due = step % self.config.checkpoint_every == 0 and step > 0
        if not (due or final) or self._saved_step == step:
            return
        self._add_pending()
        folder = self.run_folder.checkpoints
        checksum = self.trainer.save_knn_memory(knn_file.store_file(folder, step))
        tensors = self.trainer.tensors()
        self._saved_step = step
        if self.ranks.is_first:
            path = checkpoint.step_file(folder, step)
            checkpoint.save(path, tensors, {**self._state(), "knn_checksum": checksum})
            checkpoint.drop_old(folder, self.config.keep_checkpoints)
            knn_file.drop_orphans(folder, checkpoint.saved_steps(folder))

    def _save_best(self) -> None:
        if self.ranks.is_first:
            path = self.run_folder.checkpoints / checkpoint.BEST
            checkpoint.save(path, checkpoint.model_tensors(self.trainer.model), self._state())

    def _state(self) -> dict[str, Any]:
        return {
            **self.trainer.state(),
            "best": self.best,
            "evaluated": self._validated_step,
            "since_best": self._since_best,
            "valid": self.last_validation,
            "sums": self._sums,
        }


def has_ended(run: Run, state: Mapping[str, Any]) -> bool:
    """Whether a run has nothing left to do: all steps and the last validation are done.

    Args:
        run: its folder.
        state: of its last checkpoint.
    """
    step, train = state["step"], run.config.train
    if step < train.steps or state["evaluated"] != step:
        return False
    return train.evaluate_batches is None or has_line(run.metrics, step, "valid_whole")
