"""Which device a model runs on, and in which precision."""

import contextlib
import resource
from pathlib import Path

import torch

from shards.errors import LakhxlError


def choose(name: str | None) -> torch.device:
    """The device of a name; without one the best there is: cuda, mps, cpu.

    Raises:
        LakhxlError: there is no such device here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0]
        raise LakhxlError(f"--device {name}: not available here ({reason})") from None
    return device


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def describe(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def precision(setting: str, device: torch.device) -> torch.dtype:
    """The type of matrix products: bf16 where asked for, or where a GPU has it and may choose."""
    if setting == "auto":
        setting = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return torch.bfloat16 if setting == "bf16" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Let torch choose where `dtype` is safe; nothing at all for fp32."""
    if dtype is torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def memory_in_use(device: torch.device) -> int:
    """Bytes: at most, of the GPU by torch; or now, of the main memory by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except FileNotFoundError:  # no Linux: the most so far, in bytes there
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
