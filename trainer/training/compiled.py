"""torch.compile for the training step: when, where the result is kept, and what if it fails."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from shards.console import print_note

CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""Variable of the folder that torch keeps compiled code in; by default one below /tmp."""


def is_compiled(setting: bool | None, device: torch.device) -> bool:
    """What the setting `compile` says for a device."""
    return device.type == "cuda" if setting is None else setting


class Compiled:
    """A function, compiled by its first call; called as it is where that fails.

    Args:
        function: what to compile.
        enabled: whether to compile it at all.

    Attributes:
        function: the same.
        run: what is called: compiled or not.
    """

    def __init__(self, function: Callable[..., Any], *, enabled: bool) -> None:
        self.function = self.run = function
        if enabled:
            _keep_cache()
            self.run = torch.compile(function, dynamic=False)

    def or_eager(self, use: Callable[[], Any]) -> Any:
        """The result of `use`, which calls `run`; of a second try if it cannot be compiled.

        What runs backward is compiled when it first does, so `use` has to include that, and to be
        such that it can be repeated.
        """
        if self.run is self.function:
            return use()
        from torch._dynamo.exc import TorchDynamoException  # loads the compiler

        try:
            return use()
        except TorchDynamoException as error:
            reason = str(getattr(error, "inner_exception", error)).strip().splitlines()[0]
            print_note(f"torch cannot compile the training step ({reason}): it runs uncompiled")
            self.run = self.function
            return use()


def _keep_cache() -> None:
    """Have compiled code kept in the user's cache folder, unless the user names another."""
    given = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(given) if given else Path("~/.cache").expanduser()) / "lakhxl" / "inductor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # torch's own is below /tmp
        return
    if os.access(folder, os.W_OK):
        os.environ.setdefault(CACHE, str(folder))
