"""What a run says about itself while it runs: metrics.jsonl and TensorBoard, the same numbers.

Both are cut back to the step that a resumed run starts from, so that no step is in them twice.
"""

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from trainer.run import Run


class Board:
    """Writes figures of one run; a context manager.

    Args:
        run: whose folder to write to.
        step: the step that the run starts from; later lines of an earlier try are dropped.
    """

    def __init__(self, run: Run, *, step: int) -> None:
        cut_back(run.metrics, step)
        self._lines = run.metrics.open("a")
        self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._writer.close()

    def write(self, step: int, group: str, figures: dict[str, Any]) -> None:
        """Add one line of figures, a group such as train or valid, at a step."""
        line = {"step": step, "split": group, **figures}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        for name, value in figures.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
        if "loss" in figures:
            perplexity = math.exp(min(figures["tokens"], 50.0))
            self._writer.add_scalar(f"{group}/perplexity", perplexity, step)


def cut_back(metrics: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl later than a step, and a last line that is not whole.

    At step 0 nothing is kept: the run starts from the beginning.
    """
    if not metrics.exists():
        return
    if step == 0:
        metrics.unlink()
        return
    kept = [line for line in metrics.read_text().splitlines() if _step_of(line) <= step]
    temporary = metrics.with_name(metrics.name + ".tmp")
    temporary.write_text("".join(line + "\n" for line in kept))
    temporary.replace(metrics)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf


def read_metrics(metrics: Path) -> list[dict[str, Any]]:
    """All lines of a metrics.jsonl."""
    return [json.loads(line) for line in metrics.read_text().splitlines()]
