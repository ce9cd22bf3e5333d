"""Checkpoints: one safetensors file each, written atomically, without pickled code.

Tensors are stored as they are, everything else as JSON in the file's header. A file is written
under a temporary name, flushed to disk and renamed, so a file with a checkpoint's name is complete.

Source: https://github.com/huggingface/safetensors, the format.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from shards.errors import LakhxlError
from shards.json_types import type_fault
from shards.plain_file import open_plain, parse_json
from shards.text import visible

BEST = "best.safetensors"
STATE_DEPTH = 4
"""Objects and arrays inside each other in a checkpoint's state."""


STATE_TYPES: dict[str, Any] = {
    "step": int,
    "position": dict[str, int],
    "best": float | None,
    "evaluated": int | None,
    "since_best": int,
    "valid": dict[str, float | list[float | None]],
    "sums": list[float],
    "knn_checksum": str | None,
}
"""What a checkpoint's state may hold, see `type_fault`."""


class TensorInfo(NamedTuple):
    """What a checkpoint says about a tensor before it is read.

    Attributes:
        dtype: as safetensors names it: F32, BF16, I64 and so on.
        shape: its lengths.
    """

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"

    @classmethod
    def of(cls, tensor: Tensor) -> "TensorInfo":
        """Of a tensor."""
        return cls(DTYPES[tensor.dtype], tuple(tensor.shape))


DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
}
"""The types of tensors that a checkpoint may hold, as safetensors names them."""


def save(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        path: the file; its folder must exist.
        tensors: by name, on any device.
        state: plain data.

    Raises:
        LakhxlError: a number in a tensor is infinite or NaN; or the file cannot be written, as
            when the disk is full. No part of it is left.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    for name, tensor in on_cpu.items():
        if not is_finite(tensor):
            raise LakhxlError(
                f"{path} is not written: {name} is infinite or not a number. Resume from the last "
                "checkpoint, or train anew with a lower --set lr"
            )
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # by the user's umask
        safetensors.torch.save_file(
            on_cpu,
            temporary,
            metadata={"state": json.dumps(state)},
        )
        temporary.chmod(mode)  # safetensors replaces the file by one that only its owner may read
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise LakhxlError(f"{path}: the checkpoint cannot be written ({error})") from error


def is_finite(tensor: Tensor) -> bool:
    """Whether no number of a tensor is infinite or NaN."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def load(path: Path, *, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint: the tensors whose names begin with `prefix`, and the state.

    Returns:
        Tensors by full name, on the CPU; and the state.

    Raises:
        LakhxlError: there is no such file, it is not a complete checkpoint, or a number in it is
            infinite or NaN.
    """
    with _opened(path) as file:
        state = _checked_state(parse_json(file.metadata()["state"], STATE_DEPTH))
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        tensors = {name: file.get_tensor(name) for name in names}
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise LakhxlError(f"{path} is damaged: {name} is infinite or not a number")
    return tensors, state


def _checked_state(state: Any) -> dict[str, Any]:
    """A checkpoint's state, if all that it has is of the types that are written."""
    if not isinstance(state, dict):
        raise ValueError("its state is not an object")
    for name, allowed in STATE_TYPES.items():
        if name in state and (fault := type_fault(state[name], allowed)):
            raise ValueError(f"{name} of its state: {visible(fault)}")
    if state.get("valid") and not isinstance(state["valid"].get("loss"), float):
        raise ValueError("its last validation has no loss")
    return state


def tensor_infos(path: Path) -> dict[str, TensorInfo]:
    """Type and shape of each tensor in a checkpoint; none is read.

    Raises:
        LakhxlError: there is no such file, or it is not a complete checkpoint.
    """
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {
            name: TensorInfo(each.get_dtype(), tuple(each.get_shape()))
            for name, each in slices.items()
        }


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A checkpoint, opened by safetensors; what goes wrong in the block is the file's fault."""
    try:
        with open_plain(path), safetensors.safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise LakhxlError(f"{path}: no such checkpoint") from None
    except (OSError, safetensors.SafetensorError, TypeError, KeyError, ValueError) as error:
        raise LakhxlError(f"{path} is not a complete checkpoint ({error})") from error


def step_file(folder: Path, step: int) -> Path:
    """Path of a step's checkpoint."""
    return folder / f"step-{step:08d}.safetensors"


def step_files(folder: Path) -> list[Path]:
    """The checkpoints of steps, oldest first; without the best."""
    return sorted(folder.glob("step-*.safetensors"))


def saved_steps(folder: Path) -> set[int]:
    """The steps that have a checkpoint in a folder."""
    return {int(path.stem.split("-")[1]) for path in step_files(folder)}


def drop_old(folder: Path, keep: int) -> None:
    """Delete all but the last `keep` checkpoints of steps, and unfinished files of killed runs."""
    for path in [*step_files(folder)[:-keep], *folder.glob("*.tmp")]:
        path.unlink()


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights, named `model.PARAMETER`."""
    return {f"model.{name}": parameter for name, parameter in model.named_parameters()}


def load_model(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy the weights of `model_tensors` into a model.

    Raises:
        LakhxlError: a weight is missing or has another shape.
    """
    with torch.no_grad():
        for name, parameter in model_tensors(model).items():
            saved = tensors.get(name)
            if saved is None or saved.shape != parameter.shape:
                found = None if saved is None else tuple(saved.shape)
                raise LakhxlError(
                    f"the checkpoint has {name} as {found}, the model expects "
                    f"{tuple(parameter.shape)}: it is of another configuration"
                )
            parameter.copy_(saved)


def optimizer_tensors(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """The optimizers' state of each parameter, named `optimizer.KEY.PARAMETER`."""
    return {
        f"optimizer.{key}.{name}": value
        for name, parameter in model.named_parameters()
        for optimizer in optimizers
        if parameter in optimizer.state
        for key, value in optimizer.state[parameter].items()
    }


def load_optimizers(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]
) -> None:
    """Restore the state of `optimizer_tensors`."""
    parameters = dict(model.named_parameters())
    owners = {
        parameter: optimizer
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for full_name, value in tensors.items():
        prefix, _, rest = full_name.partition(".")
        if prefix != "optimizer":
            continue
        key, _, name = rest.partition(".")
        parameter = parameters[name]
        optimizer = owners[parameter]
        # Step counters stay on the CPU, unless the optimizer is fused.
        device = parameter.device if value.dim() or optimizer.defaults.get("fused") else "cpu"
        optimizer.state[parameter][key] = value.to(device)
