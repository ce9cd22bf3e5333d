"""The device that a model runs on, its precision and its memory."""

import contextlib
import ctypes
import resource
from pathlib import Path

import torch

from shards.errors import LakhxlError


def choose_device(name: str | None) -> torch.device:
    """The named device; without a name the first available of cuda, mps, cpu.

    Raises:
        LakhxlError: the device is not available.
    """
    if name is None:
        has_mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0]
        raise LakhxlError(f"--device {name}: not available here ({reason})") from None
    return device


def device_name(device: torch.device) -> str:
    """The device, with the GPU's model or the number of CPU threads."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


PEAKS = {
    "B200": 2250e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""FLOP/s of dense bf16 products with sums in fp32, by part of a GPU's name, as its maker states;
the first that fits."""


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """What a GPU can do at most, in FLOP/s; None where that is not known, as of a CPU."""
    if device.type != "cuda" or dtype is not torch.bfloat16:
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def matmul_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products for a setting `precision`; auto: bf16 on GPUs that have it."""
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """torch.autocast to `dtype`; does nothing for fp32."""
    if dtype is torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`, from its malloc.h."""


def keep_freed_memory(device: torch.device) -> None:
    """Have the C library keep what is freed, if the device is a CPU and the library is glibc.

    It gives large blocks back to the system at once, and a training step that allocates them anew
    waits while the system clears their pages.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if device.type == "cpu" and mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_MMAP_MAX, 0)


def memory_in_use(device: torch.device) -> int:
    """Peak GPU allocation, or the process's current resident set size on a CPU, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except FileNotFoundError:  # not Linux: the peak, which macOS gives in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
