"""Check that parsed JSON has the types that a TypedDict states.

A type is a TypedDict, all of whose keys must be there and no others; `list[T]`; `dict[str, T]`;
a union; bool, str or None; int, which counts something: from 0 to LARGEST; float, which may be
written as a whole number: finite, and no further from 0 than LARGEST.
"""

import functools
import types
import typing
from typing import Any

LARGEST = 2**63 - 1


def type_fault(value: Any, kind: Any) -> str | None:
    """Say where a value departs from a type, with the path of keys to it, or None.

    Args:
        value: as `json.loads` returns it.
        kind: the type expected.
    """
    fault = _fault(value, kind)
    return fault and f"{fault[0].removeprefix('.') or 'it'} {fault[1]}"


def _fault(value: Any, kind: Any) -> tuple[str, str] | None:
    """The path to the first departure, each key after a dot, and what it is."""
    container, parts = _structure(kind)
    if container is types.UnionType:
        fits = any(_fault(value, choice) is None for choice in parts)
        return None if fits else ("", f"is {_shown(value)}, expected {kind}")
    if not (isinstance(value, container) if container else _is_scalar(value, kind)):
        return "", f"is {_shown(value)}, expected {_name(container or kind)}"
    if container is None:
        return None
    if typing.is_typeddict(kind) and (different := sorted(parts.keys() ^ value.keys())):
        return "", f"{'lacks' if different[0] in parts else 'has an unknown'} {different[0]!r}"
    for key, item in enumerate(value) if container is list else value.items():
        if fault := _fault(item, parts[key] if isinstance(parts, dict) else parts[-1]):
            return f".{key}{fault[0]}", fault[1]
    return None


@functools.cache  # a report has tens of thousands of values and a few dozen types
def _structure(kind: Any) -> tuple[Any, Any]:
    """The container of a type, None for a scalar's; and its arguments, a TypedDict's by key."""
    if typing.is_typeddict(kind):
        return dict, typing.get_type_hints(kind)
    return typing.get_origin(kind), typing.get_args(kind)


def _is_scalar(value: Any, kind: type) -> bool:
    if kind is float and type(value) in (int, float):
        return -LARGEST <= value <= LARGEST  # nor NaN
    return type(value) is kind and (kind is not int or 0 <= value <= LARGEST)


def _shown(value: Any) -> str:
    is_container = isinstance(value, dict | list)
    return _name(type(value)) if is_container else repr(value)[:40]


def _name(kind: type) -> str:
    return {dict: "an object", list: "a list"}.get(kind, kind.__name__)
