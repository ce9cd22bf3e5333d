"""Which tensors a checkpoint must hold, from the settings alone, before anything of it is read.

The model and its memory are made on torch's device `meta`, where a tensor is a shape without
numbers; the settings' own bounds keep even that small.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from shards.errors import LakhxlError
from trainer.config import Config
from trainer.model.memory import memory_tensors
from trainer.model.transformer import TransformerXL
from trainer.run import checkpoint
from trainer.run.checkpoint import TensorInfo

FLOATS = {"F32", "BF16", "F16"}
"""What a memory, and weights without optimizer state, may be stored as; they are converted."""
MEMORY_FLOATS = ("memory.keys.", "memory.values.", "memory.store.memory_keys")


def check_tensors(path: Path, config: Config) -> None:
    """Hold the shapes and types of a checkpoint's tensors against the settings of its run.

    Args:
        path: of a step's checkpoint, or the best one, which has weights only.
        config: from config.json.

    Raises:
        LakhxlError: a tensor is missing, has another shape or type, or does not belong there; or
            the file is no checkpoint.
    """
    found, is_whole = checkpoint.tensor_infos(path), path.name != checkpoint.BEST
    weights, memory = _weights_and_memory(config)
    for name, info in found.items():
        expected = weights.get(name) or memory.get(name) or _of_optimizer(name, info, weights)
        if expected is None:
            raise LakhxlError(f"{path} holds {name}, which is no part of the model in config.json")
        is_float = not is_whole or name.startswith(MEMORY_FLOATS)
        dtype_fits = info.dtype in FLOATS if is_float else info.dtype == expected.dtype
        if info.shape != expected.shape or not dtype_fits:
            raise LakhxlError(
                f"{path} has {name} as {info}, but config.json expects {expected}: it is of "
                "another configuration, or damaged"
            )
    missing = [name for name in (*weights, *(memory if is_whole else ())) if name not in found]
    if missing:
        raise LakhxlError(
            f"{path} lacks {missing[0]}, which config.json expects: it is damaged, or another "
            "version of trainer wrote it"
        )


def _weights_and_memory(config: Config) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    """What the model and all lanes' memory consist of."""
    with torch.device("meta"), _Uninitialized():
        model = TransformerXL(config.model)
        memory = model.empty_memory(config.train.batch_size)
        tensors = memory_tensors(memory)
    infos = [
        {name: TensorInfo.of(tensor) for name, tensor in each.items()}
        for each in (checkpoint.model_tensors(model), tensors)
    ]
    return infos[0], infos[1]


class _Uninitialized(TorchFunctionMode):
    """Leaves new parameters without values: to draw them on `meta`, torch loads its compiler."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        is_init = getattr(func, "__module__", None) == "torch.nn.init"
        return None if is_init else func(*args, **(kwargs or {}))


def _of_optimizer(name: str, info: TensorInfo, weights: dict[str, TensorInfo]) -> TensorInfo | None:
    """What `optimizer.KEY.PARAMETER` must be: like the parameter, or a counter."""
    match = re.fullmatch(r"optimizer\.(step|exp_avg|exp_avg_sq|momentum)\.(.+)", name)
    parameter = weights.get(f"model.{match[2]}") if match else None
    if parameter is None or match is None:
        return None
    return TensorInfo("F32", ()) if match[1] == "step" else parameter
