"""A run folder: what one training writes, and all that generation needs.

config.json       the settings, and the dataset's fingerprint, settings and place
lock              while a training writes the folder, see lock.py
vocabulary.json   a copy of the dataset's
metrics.jsonl     one JSON object per line
tensorboard/      the same metrics for TensorBoard
checkpoints/      the last few, and best.safetensors
samples/          a song of each validation, and what `trainer generate` writes by default
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from shards import settings
from shards.errors import LakhxlError
from shards.layout import is_dataset
from shards.plain_file import read_json
from shards.reader import SongSource
from shards.vocabulary import Vocabulary
from shards.writer import write_json
from trainer.config import FROM_VOCABULARY, Config
from trainer.data.selection import select
from trainer.model.transformer import TransformerXL
from trainer.run import checkpoint
from trainer.run.expected import check_tensors
from trainer.run.lock import LOCK

CONFIG, VOCABULARY = "config.json", "vocabulary.json"
DATASET_PATHS = ("path", "path_from_run")
"""Keys of the dataset's place in config.json: absolute, and relative to the run folder."""
MOST_BYTES, MOST_DEPTH = 2**22, 8
"""Bounds of config.json and vocabulary.json: a hundred times what is written."""
RUN_VERSION = 8
"""Version of config.json; a run of another one is refused."""


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        path: the folder.
        config: all settings.
        vocabulary: of the dataset.
        fingerprint: of the dataset, see `dataset_fingerprint`.
        dataset: absolute path of the dataset when the run was last trained.
        dataset_from_run: the same relative to the run folder.
        dataset_settings: of the pipeline, for prompts; None in runs of earlier versions.
    """

    path: Path
    config: Config
    vocabulary: Vocabulary
    fingerprint: str
    dataset: Path
    dataset_from_run: str
    dataset_settings: dict[str, Any] | None

    def __repr__(self) -> str:
        model, steps = self.config.model, self.config.train.steps
        size = f"{model.layers} layers, d_model {model.d_model}, {steps:,} steps"
        return f"<Run {str(self.path)!r}: {size}>"

    def at_dataset(self, dataset: Path) -> "Run":
        """The same run with its dataset at another path."""
        absolute = dataset.resolve()
        relative = os.path.relpath(absolute, self.path.resolve())
        return replace(self, dataset=absolute, dataset_from_run=relative)

    def find_dataset(self) -> Path:
        """Where the dataset is now: seen from the run folder, if both were moved, else as it was.

        Raises:
            LakhxlError: it is at neither place.
        """
        if not self.dataset_from_run:
            raise LakhxlError(f"{self.path} was exported without its dataset: name it as DATASET")
        beside = self.path.resolve() / self.dataset_from_run
        for place in (beside, self.dataset):
            if is_dataset(place):
                return Path(os.path.normpath(place))
        raise LakhxlError(
            f"the dataset of {self.path} is neither at {os.path.normpath(beside)} nor at "
            f"{self.dataset}: give its path as DATASET"
        )

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Folder of the songs that the model wrote."""
        return self.path / "samples"

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
        best = self.best_checkpoint()
        _, state = checkpoint.load(best, prefix="none of the tensors")
        if "step" not in state:
            raise LakhxlError(f"{best} is damaged: it does not say of which step it is")
        return state["step"]

    def last_checkpoint(self) -> Path | None:
        """The checkpoint to resume from; None before the first."""
        return next(reversed(checkpoint.step_files(self.checkpoints)), None)


def load_model(run: Run, device: torch.device) -> TransformerXL:
    """Load the model of a run's best checkpoint, in evaluation mode."""
    best = run.best_checkpoint()
    check_tensors(best, run.config)
    model = TransformerXL(run.config.model)
    tensors, _ = checkpoint.load(best, prefix="model.")
    checkpoint.load_model(model, tensors)
    return model.to(device).eval()


def check_unused(path: Path) -> None:
    """Refuse a folder that is not empty.

    Raises:
        LakhxlError: the path is a run, a folder with files, or a file.
    """
    if (path / CONFIG).exists():
        raise LakhxlError(f"{path} is a run already: add --resume to go on, or name another --run")
    others = [each for each in path.iterdir() if each.name != LOCK] if path.is_dir() else []
    if others or (path.exists() and not path.is_dir()):
        raise LakhxlError(f"{path} exists and is not a run folder: name another --run")


def create_run(path: Path, config: Config, dataset: SongSource) -> Run:
    """Make a run folder; config.json is written last, so a folder that has one is complete."""
    check_unused(path)
    for folder in ("checkpoints", "samples"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    fingerprint = dataset_fingerprint(dataset, config.train.where)
    run = Run(path, config, dataset.vocabulary, fingerprint, Path(), "", dataset.settings)
    run = run.at_dataset(Path(dataset.path))
    write_json(path / VOCABULARY, dataset.vocabulary.to_json())
    write_config(run)
    return run


def write_config(run: Run) -> None:
    """Write config.json."""
    places = dict(zip(DATASET_PATHS, (str(run.dataset), run.dataset_from_run), strict=True))
    if not run.dataset_from_run:  # an exported run
        places = {}
    dataset = {**places, "fingerprint": run.fingerprint, "settings": run.dataset_settings}
    content = {"version": RUN_VERSION, "dataset": dataset, **settings.to_json(run.config)}
    write_json(run.path / CONFIG, content)


def open_run(path: Path | str) -> Run:
    """Open a run folder.

    Raises:
        LakhxlError: it does not exist, is not a run folder, is damaged, or has another version.
    """
    path = Path(path)
    if not path.is_dir():
        found = "is a file, not a run folder" if path.exists() else "no such folder"
        raise LakhxlError(f"{path}: {found}; `trainer fit` makes a run")
    if not (path / CONFIG).exists():
        raise LakhxlError(f"{path} is not a run folder: it has no {CONFIG}")
    content = _read_config(path / CONFIG)
    parts = {part: content[part] for part in ("model", "train")}
    config = settings.from_json(Config, parts, where=str(path / CONFIG))
    where = path / VOCABULARY
    vocabulary = Vocabulary.from_json(_read_json(where), where=str(where))
    if config.model.for_vocabulary(vocabulary) != config.model:
        sizes = ", ".join(f"{name} {getattr(config.model, name)}" for name in FROM_VOCABULARY)
        raise LakhxlError(f"{path / CONFIG} has {sizes}; {where} has others: the run is damaged")
    dataset = [content["dataset"].get(name, "") for name in ("fingerprint", *DATASET_PATHS)]
    dataset_settings = content["dataset"].get("settings")
    if not all(isinstance(each, str) for each in dataset) or not isinstance(
        dataset_settings, dict | None
    ):
        raise LakhxlError(f"{path / CONFIG} is damaged (its 'dataset' is not as expected)")
    fingerprint, absolute, relative = dataset
    return Run(path, config, vocabulary, fingerprint, Path(absolute), relative, dataset_settings)


def _read_json(path: Path) -> Any:
    try:
        return read_json(path, MOST_BYTES, MOST_DEPTH)
    except FileNotFoundError:
        raise LakhxlError(f"{path} is missing: the run is damaged, train anew") from None


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
