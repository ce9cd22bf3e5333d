"""A run folder: what one training writes, and all that generation needs.

config.json       the settings, and the dataset's path and fingerprint
vocabulary.json   a copy of the dataset's
metrics.jsonl     one JSON object per line
tensorboard/      the same metrics for TensorBoard
checkpoints/      the last few, and best.safetensors
samples/          where `trainer generate` writes by default
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
from shards.reader import SongSource
from shards.vocabulary import Vocabulary
from shards.writer import write_json
from trainer.config import Config
from trainer.data.selection import select
from trainer.model.transformer import TransformerXL
from trainer.run import checkpoint

CONFIG, VOCABULARY = "config.json", "vocabulary.json"
RUN_VERSION = 2
"""Version of config.json; a run of another one is refused."""


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        path: the folder.
        config: all settings.
        vocabulary: of the dataset.
        fingerprint: of the dataset, see `dataset_fingerprint`.
        dataset: path of the dataset when the run was last trained.
    """

    path: Path
    config: Config
    vocabulary: Vocabulary
    fingerprint: str
    dataset: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The metrics file."""
        return self.path / "metrics.jsonl"

    def best_checkpoint(self) -> Path:
        """The checkpoint with the lowest validation loss; before the first validation, the last.

        Raises:
            LakhxlError: there is no checkpoint yet.
        """
        best = self.checkpoints / checkpoint.BEST
        found = best if best.exists() else self.last_checkpoint()
        if found is None:
            raise LakhxlError(f"{self.path} holds no checkpoint yet: train it with --resume")
        return found

    def best_step(self) -> int:
        """The step of `best_checkpoint`."""
        _, state = checkpoint.load(self.best_checkpoint(), prefix="none of the tensors")
        return int(state["step"])

    def last_checkpoint(self) -> Path | None:
        """The checkpoint to resume from; None before the first."""
        return next(reversed(checkpoint.step_files(self.checkpoints)), None)


def load_model(run: Run, device: torch.device) -> TransformerXL:
    """Load the model of a run's best checkpoint, in evaluation mode."""
    model = TransformerXL(run.config.model)
    tensors, _ = checkpoint.load(run.best_checkpoint(), prefix="model.")
    checkpoint.load_model(model, tensors)
    return model.to(device).eval()


def check_unused(path: Path) -> None:
    """Refuse a folder that is not empty.

    Raises:
        LakhxlError: the path is a run, a folder with files, or a file.
    """
    if (path / CONFIG).exists():
        raise LakhxlError(f"{path} is a run already: add --resume to go on, or name another --run")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise LakhxlError(f"{path} exists and is not a run folder: name another --run")


def create_run(path: Path, config: Config, dataset: SongSource) -> Run:
    """Make a run folder; config.json is written last, so a folder that has one is complete."""
    check_unused(path)
    for folder in ("checkpoints", "samples"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    fingerprint = dataset_fingerprint(dataset, config.train.where)
    run = Run(path, config, dataset.vocabulary, fingerprint, Path(dataset.path))
    write_json(path / VOCABULARY, dataset.vocabulary.to_json())
    write_config(run)
    return run


def write_config(run: Run) -> None:
    """Write config.json."""
    dataset = {"path": str(run.dataset), "fingerprint": run.fingerprint}
    content = {"version": RUN_VERSION, "dataset": dataset, **settings.to_json(run.config)}
    write_json(run.path / CONFIG, content)


def open_run(path: Path) -> Run:
    """Open a run folder.

    Raises:
        LakhxlError: it does not exist, is not a run folder, is damaged, or has another version.
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
    if version != RUN_VERSION:
        raise LakhxlError(
            f"{path} has version {version}, this program reads {RUN_VERSION}: train anew"
        )
    for part in ("model", "train", "dataset"):
        if not isinstance(content.get(part), dict):
            raise LakhxlError(f"{path} is damaged (its {part!r} is missing or not an object)")
    return content


def dataset_fingerprint(dataset: SongSource, where: str | None = None) -> str:
    """Hash the vocabulary and the songs' md5, length, split and representative, to 16 hex digits.

    With a condition `where`, the numbers of the songs it selects are hashed too. The path is not:
    a dataset that was moved, or made again, has the same fingerprint.
    """
    digest = hashlib.sha256(dataset.vocabulary.fingerprint.encode())
    for column in ("md5", "tokens", "split", "representative"):
        digest.update(json.dumps(dataset.index[column].to_pylist()).encode())
    if where is not None:
        for split in ("train", "valid"):
            digest.update(select(dataset, split, where).tobytes())
    return digest.hexdigest()[:16]
