"""Settings: frozen dataclasses that know their own help text, and refuse what they do not know.

A settings class is a frozen dataclass of `setting(default, help)` fields. From it come the
command-line options (`options_for`), the JSON that travels with a dataset or a run (`to_json`),
and the way back (`from_json`), where an unknown name is an error and never ignored.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from shards.errors import SettingError

S = TypeVar("S")


def setting(
    default: Any, help: str, *, choices: tuple[str, ...] = (), low: float | None = None
) -> Any:
    """Declare one field of a settings class.

    Args:
        default: an immutable value.
        help: what it is, its unit, and why the default is what it is; shown by --help.
        choices: where given, the only values allowed.
        low: where given, the least value allowed.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "choices": choices, "low": low}
    )


def check(settings: Any) -> None:
    """Refuse a value outside its field's choices or bound; call it from `__post_init__`."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        choices, low = field.metadata.get("choices"), field.metadata.get("low")
        if choices and value not in choices:
            raise SettingError(
                f"{field.name} is {value!r}; expected one of {', '.join(map(str, choices))}"
            )
        if low is not None and value is not None and not value >= low:
            raise SettingError(f"{field.name} is {value!r}; expected at least {low}")


def to_json(settings: Any) -> dict[str, Any]:
    """The settings as plain data, in the order of declaration."""
    return dataclasses.asdict(settings)


def from_json(cls: type[S], values: Mapping[str, Any], *, where: str) -> S:
    """Build `cls` from plain data; an unknown name or a value of another type is an error.

    Args:
        cls: a settings class; a field whose type is itself a settings class takes a mapping.
        values: names and values; what is missing keeps its default.
        where: what the error calls the place the values came from, such as a file's path.

    Raises:
        SettingError: an unknown name (with the nearest known one), or a value not allowed.
    """
    if not isinstance(values, Mapping):
        raise SettingError(f"{where} is {values!r}; expected names and values")
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(hints)}"
            raise SettingError(f"{where}: unknown setting {name!r}{hint}")
    built = {name: _convert(hints[name], value, name, where) for name, value in values.items()}
    return cls(**built)


def _convert(hint: Any, value: Any, name: str, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value, where=f"{where}: {name}")
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in allowed and type(value) is int:
        return float(value)
    if type(value) not in allowed:
        names = " or ".join(kind.__name__ for kind in allowed)
        raise SettingError(f"{where}: {name} is {value!r}; expected {names}")
    return value


def parse(cls: type, name: str, text: str, *, where: str) -> Any:
    """Read one setting's value from the text of a command line, by the field's own type."""
    hints = typing.get_type_hints(cls)
    if name not in hints:
        return from_json(cls, {name: text}, where=where)  # raises, naming the nearest
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


def options_for(cls: type) -> Callable[[Callable], Callable]:
    """Give a click command one option for each field of `cls`, named after it."""

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
