"""Random damage to files: to their bytes, to JSON values, and what may lie in a file's place."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 127, 128, 255, 10**9, 2**31 - 1, 2**31, -(2**31), 2**62,
    2**63 - 1, 2**63, -(2**63), 10**30, 10**400, 0.5, -1.5, 1e300, 1e-300, float("nan"),
    float("inf"), "", "x", "a" * 100_000, "\ud800", "\0", "\x1b[31m", "../../etc/passwd", "none",
    "knn", [], {}, [200], [None], [[1, -1]], [1] * 10_000, {"a": {"b": {}}},
    json.loads("[" * 400 + "]" * 400),
)  # fmt: skip
"""What a value is replaced by."""


def flip(data: bytearray, rng: random.Random) -> None:
    """Replace one byte."""
    data[rng.randrange(len(data))] = rng.randrange(256)


def flip_bit(data: bytearray, rng: random.Random) -> None:
    """Flip one bit."""
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    """Drop everything after some byte."""
    del data[rng.randrange(1, len(data) + 1) :]


def insert(data: bytearray, rng: random.Random) -> None:
    """Insert up to 64 random bytes anywhere."""
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.randrange(1, 65))


def delete(data: bytearray, rng: random.Random) -> None:
    """Delete up to 64 bytes anywhere."""
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 65)]


def fill(data: bytearray, rng: random.Random) -> None:
    """Set 16 bytes to 255: NaN, in any float type."""
    at = rng.randrange(len(data))
    data[at : at + 16] = b"\xff" * 16


MUTATIONS = (flip, flip_bit, cut, insert, delete, fill)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A copy with one to eight mutations."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 9)):
        if changed:
            rng.choice(MUTATIONS)(changed, rng)
    return bytes(changed)


def damage_json(value: Any, rng: random.Random) -> Any:
    """Replace, delete, rename or repeat something in a JSON value, at any depth."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.05:
        return rng.choice(VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, action = rng.choice(keys), rng.random()
    if action < 0.1:
        del value[key]
    elif action < 0.2 and isinstance(value, dict):
        value[rng.choice([*keys, "x"])] = value[key]
    else:
        value[key] = damage_json(value[key], rng)
    return value


def put_instead(path: Path, rng: random.Random) -> None:
    """Put something else in a file's place: no plain file, an empty one, a terabyte, or nothing."""
    path.unlink()
    put: list[Callable[[], object]] = [
        lambda: None,
        lambda: path.symlink_to("/etc/passwd"),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(path.name),
        lambda: os.mkfifo(path),
        path.mkdir,
        path.touch,
        lambda: (path.touch(), os.truncate(path, 2**40)),
    ]
    rng.choice(put)()


def error_of(cli: click.Command, arguments: list[str]) -> str | None:
    """Run a command; returns the one line of its error, or None if there is none.

    Raises:
        AssertionError: it ended with anything else.
    """
    result = CliRunner().invoke(cli, arguments)
    if not isinstance(result.exception, SystemExit | None):
        raise AssertionError(f"a traceback: {result.exception!r}") from result.exception
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code in (0, 1), result.output
    assert len(errors) == result.exit_code, result.output
    return errors[0] if errors else None
