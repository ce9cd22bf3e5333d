"""Settings: frozen dataclasses with help texts and bounds, which refuse unknown names.

A settings class is a frozen dataclass of `setting(default, help)` fields, a `Settings`. This module
derives from it the command-line options (`options_for`), a printed overview (`describe`), and the
JSON saved with a dataset or a run (`to_json`, `from_json`; an unknown name is an error).
"""

import dataclasses
import difflib
import math
import shutil
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shards.errors import SettingError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")
BOUNDS = {
    "low": ("at least", lambda value, bound: value >= bound),
    "high": ("at most", lambda value, bound: value <= bound),
    "below": ("less than", lambda value, bound: value < bound),
}
"""Kind of bound -> its words, and its comparison, which NaN always fails."""


def setting(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare one field of a settings class.

    Args:
        default: an immutable value.
        help: what it is, its unit, and the reason for the default; shown by --help and `describe`.
        choices: the only values allowed; empty: any.
        low, high: smallest and largest value allowed.
        below: a bound that the value must stay under.
    """
    bounds = {"low": low, "high": high, "below": below}
    given = {kind: bound for kind, bound in bounds.items() if bound is not None}
    metadata = {"help": help, "choices": choices, "bounds": given}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of the settings classes."""

    def __post_init__(self) -> None:
        """Refuse a value outside its field's choices or bounds; a class may refuse more."""
        for field in dataclasses.fields(self):
            if fault := _fault(field, getattr(self, field.name)):
                raise SettingError(fault)


def _fault(field: dataclasses.Field, value: Any) -> str | None:
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        return f"{field.name} is {value!r}; expected one of {', '.join(choices)}"
    for kind, bound in field.metadata.get("bounds", {}).items():
        words, is_within = BOUNDS[kind]
        if value is not None and not is_within(value, bound):
            return f"{field.name} is {value!r}; expected {words} {bound}"
    if isinstance(value, float) and not math.isfinite(value):  # JSON has no such number
        return f"{field.name} is {value!r}; expected a finite number"
    return None


@dataclass(frozen=True)
class Description:
    """One setting, for people.

    Attributes:
        group: name of the settings class it belongs to within the whole, as `model`; "" for none.
        name: as in the class; with dashes for underscores, the command-line option.
        type: `int`, `float`, `str` or `bool`; with `| None` where it may be switched off.
        default: the value, as text; `none` and `true` as `parse` reads them.
        allowed: bounds or choices in words, as `at least 1` or `a | b`; "" for no limit.
        help: meaning, unit and reason.
    """

    group: str
    name: str
    type: str
    default: str
    allowed: str
    help: str


def fields_of(
    settings: "DataclassInstance | type[DataclassInstance]", group: str = ""
) -> list[Description]:
    """Every setting of a class, those of nested classes in groups; in order of declaration.

    Args:
        settings: a settings class; or an object of one, whose values are then the defaults.
        group: of the settings that are not in a nested class.
    """
    whole = settings() if isinstance(settings, type) else settings
    hints = typing.get_type_hints(type(whole))
    found = []
    for field in dataclasses.fields(whole):
        value, hint = getattr(whole, field.name), hints[field.name]
        if dataclasses.is_dataclass(value):
            found += fields_of(value, field.name)
            continue
        name = hint.__name__ if isinstance(hint, type) else str(hint)
        allowed, help = _allowed(field), field.metadata["help"]
        found.append(Description(group, field.name, name, _text(value), allowed, help))
    return found


def _allowed(field: dataclasses.Field) -> str:
    if field.metadata["choices"]:
        return " | ".join(field.metadata["choices"])
    bounds = field.metadata["bounds"].items()
    return ", ".join(f"{BOUNDS[kind][0]} {bound:,}" for kind, bound in bounds)


def _text(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def describe(settings: "DataclassInstance | type[DataclassInstance]") -> str:
    """Every setting with its default, what is allowed and its help, wrapped for the terminal.

    Args:
        settings: as for `fields_of`.
    """
    width = min(shutil.get_terminal_size().columns, 100)
    lines, group = [], ""
    for field in fields_of(settings):
        if field.group != group:
            group = field.group
            lines += ["", group, "-" * len(group)] if lines else [group, "-" * len(group)]
        allowed = f"  ({field.allowed})" if field.allowed else ""
        lines.append(f"{field.name} = {field.default}{allowed}")
        lines += textwrap.wrap(field.help, width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def to_json(settings: "DataclassInstance") -> dict[str, Any]:
    """The settings as plain data, in the order of declaration."""
    return dataclasses.asdict(settings)


def from_json(cls: type[S], values: Mapping[str, Any], *, where: str) -> S:
    """Build `cls` from plain data; an unknown name or a value of the wrong type is an error.

    Args:
        cls: a settings class; a field whose type is itself a settings class takes a mapping.
        values: names and values; missing names keep their default.
        where: where the values came from, such as a file's path; named in errors.

    Raises:
        SettingError: an unknown name (with the nearest known one), or a value not allowed.
    """
    return cls(**checked(cls, values, where=where))


def checked(
    cls: "type[DataclassInstance]", values: Mapping[str, Any], *, where: str
) -> dict[str, Any]:
    """The values, converted to the types of their fields; arguments and errors as `from_json`."""
    if not isinstance(values, Mapping):
        raise SettingError(f"{where} is {values!r}; expected names and values")
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in hints:
            raise SettingError(f"{where}: unknown setting {name!r}{nearest(name, hints)}")
    found = {name: _convert(hints[name], value, name, where) for name, value in values.items()}
    for field in dataclasses.fields(cls):
        if field.name in found and (fault := _fault(field, found[field.name])):
            raise SettingError(f"{where}: {fault}")
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(name, [*known], n=1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"


def _convert(hint: Any, value: Any, name: str, where: str) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_json(hint, value, where=f"{where}: {name}")
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(value) is int and abs(value) >= 2**63:
        raise SettingError(f"{where}: {name} has {value.bit_length()} bits; expected at most 63")
    if float in allowed and type(value) is int:
        return float(value)
    if type(value) not in allowed:
        names = " or ".join(kind.__name__ for kind in allowed)
        raise SettingError(f"{where}: {name} is {value!r}; expected {names}")
    return value


def parse(cls: "type[DataclassInstance]", name: str, text: str, *, where: str) -> Any:
    """Convert a command line's text to the type of the field `name`."""
    hints = typing.get_type_hints(cls)
    if name not in hints:
        return from_json(cls, {name: text}, where=where)  # raises, with the nearest name
    kind = _scalar(hints[name])
    if text.lower() == "none" and kind is not hints[name]:
        return None
    try:
        return _to_bool(text) if kind is bool else kind(text)
    except ValueError:
        raise SettingError(f"{where}: {name} is {text!r}; expected {kind.__name__}") from None


def _to_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _scalar(hint: Any) -> type:
    """The type behind `int | None`; the type itself otherwise."""
    if isinstance(hint, types.UnionType):
        return next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    return hint


def options_for(cls: "type[DataclassInstance]") -> Callable[[Callable], Callable]:
    """Give a click command one option per field of `cls`, named after it."""

    def decorate(command: Callable) -> Callable:
        hints = typing.get_type_hints(cls)
        for field in reversed(dataclasses.fields(cls)):
            flag = "--" + field.name.replace("_", "-")
            kind = _scalar(hints[field.name])
            if kind is bool:
                flag, kind = f"{flag}/--no-{flag[2:]}", None
            elif field.metadata["choices"]:
                kind = click.Choice(field.metadata["choices"])
            command = click.option(
                flag,
                field.name,
                type=kind,
                default=field.default,
                show_default=field.default is not None,
                help=field.metadata["help"],
            )(command)
        return command

    return decorate


def take(cls: type[S], values: dict[str, Any]) -> S:
    """Build `cls` from the options of `options_for`, removing them from `values`."""
    return cls(**{field.name: values.pop(field.name) for field in dataclasses.fields(cls)})
