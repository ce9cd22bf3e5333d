"""Check that parsed JSON has the types that a TypedDict states.

A type is a TypedDict, all of whose keys must be there and no others; `list[T]`; `dict[str, T]`;
a union; bool, str or None; int, which counts something: from 0 to LARGEST; float, which may be
written as a whole number: finite, and no further from 0 than LARGEST.
"""

import types
import typing
from typing import Any

LARGEST = 2**63 - 1


def type_fault(value: Any, kind: Any, where: str = "") -> str | None:
    """Say where a value departs from a type, or None.

    Args:
        value: as `json.loads` returns it.
        kind: the type expected.
        where: the path of keys to the value, for the sentence.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        faults = [type_fault(value, choice, where) for choice in arguments]
        return None if None in faults else f"{where} is {_shown(value)}, expected {kind}"
    container = dict if typing.is_typeddict(kind) else origin
    if not isinstance(value, container or object) or not (container or _is_scalar(value, kind)):
        return f"{where or 'it'} is {_shown(value)}, expected {_name(container or kind)}"
    if container is None:
        return None
    if container is list:
        items = [(number, item, arguments[0]) for number, item in enumerate(value)]
    elif arguments:
        items = [(key, item, arguments[1]) for key, item in value.items()]
    else:
        hints = typing.get_type_hints(kind)
        if different := sorted(hints.keys() ^ value.keys()):
            verb = "lacks" if different[0] in hints else "has an unknown"
            return f"{where or 'it'} {verb} {different[0]!r}"
        items = [(key, value[key], hint) for key, hint in hints.items()]
    faults = (type_fault(item, hint, f"{where}.{key}".lstrip(".")) for key, item, hint in items)
    return next((fault for fault in faults if fault is not None), None)


def _is_scalar(value: Any, kind: type) -> bool:
    if kind is float and type(value) in (int, float):
        return -LARGEST <= value <= LARGEST  # nor NaN
    return type(value) is kind and (kind is not int or 0 <= value <= LARGEST)


def _shown(value: Any) -> str:
    is_container = isinstance(value, dict | list)
    return _name(type(value)) if is_container else repr(value)[:40]


def _name(kind: type) -> str:
    return {dict: "an object", list: "a list"}.get(kind, kind.__name__)
