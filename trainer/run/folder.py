"""A run folder: everything that one training leaves, and all that generation needs.

config.json       settings, and which dataset
vocabulary.json   as in the dataset
metrics.jsonl     one JSON object a line
tensorboard/      the same for TensorBoard
checkpoints/      the last few, and best.safetensors
samples/          what `trainer generate` writes unless told otherwise
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shards import settings
from shards.errors import LakhxlError
from shards.vocabulary import Vocabulary
from shards.writer import write_json
from trainer.config import Config
from trainer.data.selection import select
from trainer.model.transformer import TransformerXL
from trainer.run import checkpoint

CONFIG, VOCABULARY = "config.json", "vocabulary.json"
VERSION = 1


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        path: the folder.
        config: its settings.
        vocabulary: of the dataset that it was trained on.
        fingerprint: of that dataset, see `dataset_fingerprint`.
        dataset: where it was.
    """

    path: Path
    config: Config
    vocabulary: Vocabulary
    fingerprint: str
    dataset: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The file of the metrics."""
        return self.path / "metrics.jsonl"

    def best_checkpoint(self) -> Path:
        """The best checkpoint by validation loss; before the first validation, the last.

        Raises:
            LakhxlError: there is none yet.
        """
        best = self.checkpoints / checkpoint.BEST
        found = best if best.exists() else self.last_checkpoint()
        if found is None:
            raise LakhxlError(f"{self.path} holds no checkpoint yet: train it with --resume")
        return found

    def best_step(self) -> int:
        """The step that `best_checkpoint` was saved at."""
        _, state = checkpoint.load(self.best_checkpoint(), prefix="no tensor")
        return int(state["step"])

    def last_checkpoint(self) -> Path | None:
        """The latest checkpoint to go on from; None before the first."""
        return next(reversed(checkpoint.saved_steps(self.checkpoints)), None)


def load_model(run: Run, device: torch.device) -> TransformerXL:
    """The model of a run's best checkpoint, in evaluation mode."""
    model = TransformerXL(run.config.model)
    tensors, _ = checkpoint.load(run.best_checkpoint(), prefix="model.")
    checkpoint.load_model(model, tensors)
    return model.to(device).eval()


def check_free(path: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        LakhxlError: the folder is a run, or has files, or is a file.
    """
    if (path / CONFIG).exists():
        raise LakhxlError(f"{path} is a run already: add --resume to go on, or name another --run")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise LakhxlError(f"{path} exists and is no run folder: name another --run")


def create(path: Path, config: Config, dataset: Any) -> Run:
    """Make a run folder; config.json comes last, so that what has one is whole."""
    check_free(path)
    for folder in ("checkpoints", "samples"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    fingerprint = dataset_fingerprint(dataset, config.train.where)
    run = Run(path, config, dataset.vocabulary, fingerprint, Path(dataset.path))
    write_json(path / VOCABULARY, dataset.vocabulary.to_json())
    write_config(run, str(dataset.path))
    return run


def write_config(run: Run, dataset_path: str) -> None:
    """Write config.json."""
    dataset = {"path": dataset_path, "fingerprint": run.fingerprint}
    content = {"version": VERSION, "dataset": dataset, **settings.to_json(run.config)}
    write_json(run.path / CONFIG, content)


def open_run(path: Path) -> Run:
    """Open a run folder.

    Raises:
        LakhxlError: there is none, or it is no run folder, or of another version.
    """
    if not path.is_dir():
        raise LakhxlError(f"{path}: no such folder; `trainer fit` makes a run")
    if not (path / CONFIG).exists():
        raise LakhxlError(f"{path} is not a run folder: it has no {CONFIG}")
    content = _read_config(path / CONFIG)
    vocabulary = path / VOCABULARY
    parts = {part: content[part] for part in ("model", "train")}
    return Run(
        path,
        settings.from_json(Config, parts, where=str(path / CONFIG)),
        Vocabulary.from_json(_read_json(vocabulary), where=str(vocabulary)),
        content["dataset"].get("fingerprint", ""),
        Path(content["dataset"].get("path", "")),
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise LakhxlError(f"{path} is missing: the run is damaged, train anew") from None
    except ValueError as error:
        raise LakhxlError(f"{path} is damaged ({error}): train anew") from None


def _read_config(path: Path) -> Mapping[str, Any]:
    content = _read_json(path)
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        raise LakhxlError(f"{path} has version {version}, this program reads {VERSION}: train anew")
    for part in ("model", "train", "dataset"):
        if not isinstance(content.get(part), dict):
            raise LakhxlError(f"{path} is damaged (its {part!r} is missing or no object)")
    return content


def dataset_fingerprint(dataset: Any, where: str | None = None) -> str:
    """Sixteen hex digits that change with the vocabulary, the songs' lengths or their splits.

    Where a condition selects some of the songs, also with which ones it selects.

    Not with where the dataset lies: one that was moved or made again stays the same.
    """
    digest = hashlib.sha256(dataset.vocabulary.fingerprint.encode())
    for column in ("md5", "tokens", "split", "representative"):
        digest.update(json.dumps(dataset.index[column].to_pylist()).encode())
    if where is not None:
        for split in ("train", "valid"):
            digest.update(select(dataset, split, where).tobytes())
    return digest.hexdigest()[:16]
