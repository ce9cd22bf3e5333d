"""The training loop of `trainer fit`: train, log, validate, save, and stop cleanly on request."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from shards.codec import Codec
from shards.console import print_note, progress_bar
from shards.errors import LakhxlError
from shards.render.midi import write_midi
from shards.text import counted
from trainer import device as devices
from trainer.config import TrainConfig
from trainer.generation.generate import generate
from trainer.generation.settings import SampleConfig
from trainer.model.knn import file as knn_file
from trainer.model.loss import LossSums, to_rows
from trainer.run import checkpoint
from trainer.run.folder import Run
from trainer.run.lock import RunLock
from trainer.training.metrics_log import (
    MetricsLog,
    NullMetricsLog,
    has_line,
    mean_loss_by_position,
)
from trainer.training.stop_request import StopRequest
from trainer.training.trainer import Trainer, ValidationLosses


class _Step(NamedTuple):
    """What a step leaves to be read from the device later.

    Attributes:
        losses: of this rank's lanes.
        grad_norm: of all lanes.
        position: of the sampler after the step.
    """

    losses: LossSums
    grad_norm: Tensor
    position: Mapping[str, int]


class TrainingLoop:
    """Trains one run from its last checkpoint to its end.

    Args:
        trainer: new, or loaded from the run's last checkpoint.
        run_folder: where to write.
        state: of that checkpoint; empty for a new run.
        lock: of the run folder; asked before each checkpoint whether it is still held.

    Attributes:
        best: lowest validation loss so far.
        last_validation: metrics of the last validation.
    """

    def __init__(
        self,
        trainer: Trainer,
        run_folder: Run,
        state: dict[str, Any],
        lock: RunLock | None = None,
    ) -> None:
        self._lock = lock
        self.trainer, self.run_folder, self.config = trainer, run_folder, trainer.config.train
        self.ranks = trainer.ranks
        self.best: float | None = state.get("best")
        self.last_validation: dict[str, Any] = state.get("valid", {})
        self._validated_step: int | None = state.get("evaluated")
        self._since_best: int = state.get("since_best", 0)
        self._saved_step: int | None = trainer.step if state else None
        self._pending: list[_Step] = []
        self._sums: list[float] = state.get("sums", [0.0] * len(LossSums._fields))
        if len(self._sums) != len(LossSums._fields):
            raise LakhxlError(
                f"the checkpoint of {run_folder.path} is damaged: its sums are no sums"
            )
        self._has_compiled, self._logged = False, 0
        self._timer, self._timed_steps, self._timed_wait = time.perf_counter(), 0, 0.0
        self._step_seconds: float | None = None
        self._validation_seconds: float | None = None  # per batch, in the last validation

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
        if log.dropped:
            print_note(
                f"{self.run_folder.metrics}: {counted(log.dropped, 'line')} dropped: no rows"
            )
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
            losses = self._train_step(measure_update=is_logged)
        except torch.OutOfMemoryError:
            raise LakhxlError(
                f"{self.trainer.device} has too little memory for {self.config.batch_size} lanes "
                f"of {self.config.block_size} tokens: train anew with a lower --set batch_size, "
                "or a higher --set accumulate"
            ) from None
        self._pending.append(_Step(losses, self.trainer.grad_norm, self.trainer.position))
        bar.update()
        if is_logged:
            self._log_step(log, bar, lr)

    def _train_step(self, *, measure_update: bool) -> LossSums:
        """Take a step; one that compiles the model says so, and does not count for the speed."""
        if self._has_compiled or not self.trainer.is_compiled:
            self._timed_steps += 1
            return self.trainer.train_step(measure_update=measure_update)
        if self.ranks.is_first:
            print_note("compiling the training step: up to a minute, less if it has been before")
        with self._timer_paused():
            start = time.perf_counter()
            losses = self.trainer.train_step(measure_update=measure_update)
        self._has_compiled = True
        if self.ranks.is_first:
            print_note(f"compiled in {time.perf_counter() - start:.0f} s")
        return losses

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
        if "peak_share" in metrics:
            shown["of peak"] = f"{metrics['peak_share']:.0%}"
            self._announce_speed(metrics)
        if self.last_validation:
            shown["valid"] = f"{self.last_validation['loss']:.3f}"
        bar.set_postfix(shown, refresh=False)

    def _announce_speed(self, metrics: Mapping[str, Any]) -> None:
        """Say once how fast a GPU is, when it no longer compiles and records."""
        self._logged += 1
        if self.ranks.is_first and self._logged == 2:
            print_note(
                f"speed    {metrics['tokens_per_second']:,.0f} tokens/s, "
                f"{metrics['peak_share']:.0%} of what this GPU can do at most"
            )

    def _add_pending(self) -> None:
        """Wait for the device, and add the losses of the steps since the last call.

        In order and one by one, so that a run has the same sums however often it was saved in
        between. Called when a line is logged, and before every validation and every checkpoint:
        no step needs a wait of its own, and nothing is written after a step that went wrong.

        Raises:
            LakhxlError: the loss or the gradient of a step is infinite or not a number; on all
                ranks, since both are sums over them.
        """
        pending, self._pending = self._pending, []
        rows = torch.tensor(
            to_rows([(*step.losses, step.grad_norm) for step in pending]), dtype=torch.float64
        )
        rows = self.ranks.sum(rows).tolist()
        for number, row in enumerate(rows, self.trainer.step - len(rows) + 1):
            if not all(map(math.isfinite, row)):
                found = "gradient" if all(map(math.isfinite, row[:-1])) else "loss"
                songs = self.trainer.songs_before(pending[number - self.trainer.step - 1].position)
                raise LakhxlError(self._diverged(f"the {found} of step {number}", songs))
            self._sums = [a + b for a, b in zip(self._sums, row[:-1], strict=True)]

    def _diverged(self, what: str, lanes: list[list[str]] | None = None) -> str:
        """The message of a run that goes on with numbers no more."""
        last = self.run_folder.last_checkpoint()
        kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        songs = "; ".join(f"lane {n}: {', '.join(names)}" for n, names in enumerate(lanes or []))
        played = f" The lanes played {songs}." if songs else ""
        return (
            f"{what} is infinite or not a number; {kept}. Train anew with a lower --set lr, or "
            f"without a song by --where.{played}"
        )

    def _machine_metrics(self) -> dict[str, float]:
        """Speed, share of a known GPU's peak, fraction of time waiting for data, memory in use.

        Speed and waiting are since the last call, without validation and saving.
        """
        seconds = time.perf_counter() - self._timer
        steps = max(self._timed_steps, 1)  # the only one may have compiled
        wait = self.trainer.data_wait - self._timed_wait
        self._timed_wait = self.trainer.data_wait
        self._step_seconds = seconds / steps
        self._timer, self._timed_steps = time.perf_counter(), 0
        speed = steps * self.trainer.tokens_per_step / seconds
        share = self.trainer.share_of_peak(speed)
        return {
            "tokens_per_second": speed,
            **({} if share is None else {"peak_share": share}),
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
        self._add_pending()
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
        total = whole if batches is None else min(batches, whole)
        is_last = batches is None or not validates_whole_split(self.config)
        if self.trainer.step == self.config.steps and is_last:
            self._announce_validation(total)
        start = time.perf_counter()
        with progress_bar(
            total=total,
            desc="validating",
            unit="batch",
            leave=False,
            disable=not self.ranks.is_first,
        ) as bar:
            losses = self.trainer.evaluate(batches=batches, stopped=stopped, advance=bar.update)
        self._validation_seconds = (time.perf_counter() - start) / max(total, 1)
        return losses

    def _announce_validation(self, batches: int) -> None:
        """Say how long the last validation will take, from measured speed.

        A batch takes as long as in the validation before; if this is the first, at most as long as
        a training step, which computes the same and the gradient.
        """
        earlier = self._validation_seconds
        each, bound = (earlier, "about") if earlier else (self._step_seconds, "at most")
        if self.ranks.is_first and each is not None:
            print_note(
                f"last validation: {batches:,} batches, {bound} "
                f"{tqdm.format_interval(math.ceil(batches * each))} (min:s)"
            )

    def _log_validation(self, log: MetricsLog, split: str, losses: ValidationLosses) -> None:
        by_position = mean_loss_by_position(losses.by_position)
        if not math.isfinite(float(losses.sums.loss)):
            raise LakhxlError(self._diverged(f"the validation loss at step {self.trainer.step}"))
        self.last_validation = {**losses.means(), "loss_by_position": by_position}
        log.write(self.trainer.step, split, self.last_validation)
        log.draw_loss_by_position(self.trainer.step, by_position)

    def _draw_sample(self, log: MetricsLog) -> None:
        """Generate a few bars, write them to samples/ and draw them."""
        bars = self.config.sample_bars
        if bars == 0 or not self.ranks.is_first:
            return
        config = SampleConfig(bars=bars, tokens=64 * bars, seed=self.config.seed)
        model, vocabulary = self.trainer.model.eval(), self.run_folder.vocabulary
        try:
            (song,) = generate(model, vocabulary, config, block_size=self.config.block_size)
        finally:
            model.train()
        step = self.trainer.step
        path = self.run_folder.samples / f"step-{step:08d}.mid"
        write_midi(Codec(vocabulary).decode(song), path, vocabulary)
        log.draw_song(step, song)

    @property
    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        return patience is not None and self._since_best >= patience

    def _finish(self, log: MetricsLog, stopped: Callable[[], bool]) -> bool:
        """After the last step, validate on the whole split, unless it was or shall not be.

        Returns:
            Whether training has ended. Not if its last validation was stopped; a resumed run
            repeats it.
        """
        ended = self.trainer.step == self.config.steps or self._out_of_patience
        if not ended or self._validated_step != self.trainer.step:
            return False
        if validates_whole_split(self.config):
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
        self._check_lock()
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
            self._check_lock()
            path = self.run_folder.checkpoints / checkpoint.BEST
            checkpoint.save(path, checkpoint.model_tensors(self.trainer.model), self._state())

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()

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
    if step < train.steps or state.get("evaluated") != step:
        return False
    return not validates_whole_split(train) or has_line(run.metrics, step, "valid_whole")


def validates_whole_split(train: TrainConfig) -> bool:
    """Whether the end of a run adds a validation of the whole split to the one of its last step."""
    return train.evaluate_batches is not None and train.evaluate_whole_at_end
