"""Export what others need of a run: settings, vocabulary, weights and a model card.

The exported folder is a run folder like any other, without metrics, optimizer state, samples of
the training, or any path of the machine that it was trained on.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from shards.errors import LakhxlError
from shards.text import visible
from shards.writer import write_json
from trainer.run import checkpoint
from trainer.run.expected import check_tensors
from trainer.run.folder import VOCABULARY, Run, write_config

CARD = "README.md"
ABOUT_CORPUS = ("duplicates", "split")
"""Settings of the dataset that prompts do not need; their lists are files of this machine."""


def export_run(run: Run, folder: Path, *, dtype: str, license: str, sample: str | None) -> Path:
    """Write the exported folder.

    Args:
        run: with a checkpoint.
        folder: new or empty.
        dtype: one of EXPORT_DTYPES.
        license: of the weights, as the model card states it.
        sample: the name of a song in the folder that the card points to; None: there is none.

    Returns:
        The file of the weights.

    Raises:
        LakhxlError: the folder is not empty, cannot be written, or the run has no checkpoint.
    """
    best = run.best_checkpoint()
    check_tensors(best, run.config)
    tensors, state = checkpoint.load(best, prefix="model.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LakhxlError(f"{folder} exists and is not an empty folder: name another FOLDER")
    of_one_file = {
        group: values
        for group, values in (run.dataset_settings or {}).items()
        if group not in ABOUT_CORPUS
    }
    exported = replace(
        run, path=folder, dataset=Path(), dataset_from_run="", dataset_settings=of_one_file
    )
    try:
        exported.checkpoints.mkdir(parents=True, exist_ok=True)
        weights = exported.checkpoints / checkpoint.BEST
        kept = {"step": state["step"], "valid": state.get("valid") or {}}
        stored = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
        checkpoint.save(weights, stored, kept)
        write_json(folder / VOCABULARY, run.vocabulary.to_json())
        (folder / CARD).write_text(
            model_card(exported, tensors, kept, dtype=dtype, license=license, sample=sample)
        )
        write_config(exported)
    except OSError as error:
        raise LakhxlError(f"{folder} cannot be written ({error.strerror})") from error
    return weights


def _yaml(text: str) -> str:
    """A text as a value of YAML: quoted where a mark in it would have a meaning."""
    is_plain = re.fullmatch(r"[A-Za-z][\w.+-]*", text)
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def model_card(
    run: Run,
    tensors: dict[str, Tensor],
    state: dict,
    *,
    dtype: str,
    license: str,
    sample: str | None,
) -> str:
    """The model card, in the form that Hugging Face reads: what it is, its data, its measures."""
    model, train, codec = run.config.model, run.config.train, run.vocabulary.settings
    parameters = sum(tensor.numel() for tensor in tensors.values())
    name = visible(run.path.resolve().name)
    rows = {
        "parameters": f"{parameters:,}, stored as {dtype}",
        "layers, width, heads": f"{model.layers}, {model.d_model}, {model.heads}",
        "block and memory": f"{train.block_size} and {model.memory} tokens",
        "vocabulary": f"{len(run.vocabulary)} tokens, {codec.steps_per_beat} steps a beat, "
        f"{run.vocabulary.instruments} instrument classes",
        "training": f"{state['step']:,} steps of {train.batch_size} x {train.block_size} tokens",
        "dataset": f"fingerprint {run.fingerprint}; its settings are in config.json",
    }
    measures = {
        key: value for key, value in state["valid"].items() if isinstance(value, float)
    }  # of the validation at that step
    lines = [
        "---",
        f"license: {_yaml(visible(license))}",
        "library_name: lakhxl",
        "tags: [music, midi, transformer-xl]",
        "---",
        "",
        f"# {name}",
        "",
        "A Transformer-XL that writes multi-instrument music as MIDI, trained with lakhxl.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in rows.items()),
        "",
        "## Measures",
        "",
        "On the validation split of its dataset, in nats unless the name says otherwise:",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {visible(key)} | {value:.3f} |" for key, value in measures.items()),
        "",
        "## Use",
        "",
        "```sh",
        f"trainer generate {name} -o song.mid --bars 16",
        "```",
        "",
        "```python",
        "import trainer",
        "",
        f'model = trainer.load("{name}")',
        "song = model.generate(bars=16, seed=1)[0]",
        'model.save(song, "song.mid")',
        "```",
        "",
    ]
    if sample:
        lines += [f"`{sample}` is what the first of these writes with `--seed 0`.", ""]
    return "\n".join(lines)
