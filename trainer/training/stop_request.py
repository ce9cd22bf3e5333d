"""Stop a training by a signal, at the end of its step."""

import os
import signal
import threading
from types import FrameType
from typing import Any


class StopRequest:
    """Turns Ctrl-C, SIGTERM or SIGHUP into a flag; a second one acts as usual, at once.

    SIGHUP says that the terminal is gone: what would be written to it goes to /dev/null, because
    writing fails from then on. Where SIGHUP is ignored, as under nohup, it stays ignored.

    Args:
        ignore_second: keep catching signals. torchrun passes on to each process a Ctrl-C that the
            terminal has already sent to all of them.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, *, ignore_second: bool = False) -> None:
        self.received, self._ignore_second = False, ignore_second
        self._old_handlers: dict[int, Any] = {}
        self._on_terminal: list[int] = []

    def __enter__(self) -> "StopRequest":
        self._on_terminal = [number for number in (1, 2) if _is_terminal(number)]
        if threading.current_thread() is threading.main_thread():  # others may not set handlers
            self._old_handlers = {
                number: signal.signal(number, self._receive)
                for number in self.SIGNALS
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
            }
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if number == signal.SIGHUP:
            null = os.open(os.devnull, os.O_WRONLY)
            for descriptor in self._on_terminal:
                os.dup2(null, descriptor)
            os.close(null)
        if not self._ignore_second:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._old_handlers = {}


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:  # closed
        return False
