"""Settings in a TOML file: one section per settings class, which options override."""

import json
import textwrap
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shards import settings
from shards.errors import SettingError
from shards.plain_file import read_plain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_BYTES = 1 << 16
"""Of a file; one with all settings and their help has an eighth of that."""
WIDTH = 100


def read_settings(
    path: Path, classes: "Mapping[str, type[DataclassInstance]]"
) -> dict[str, dict[str, Any]]:
    """Read a TOML file of settings.

    Args:
        path: the file. What may be switched off is so by "none".
        classes: section -> settings class.

    Returns:
        The values that the file states, by section and name; they are of the right type and within
        their own bounds, but may not fit together.

    Raises:
        FileNotFoundError: there is no such file.
        SettingError: it is not TOML, or has an unknown section or name (with the nearest known
            one), or a value that is not allowed; names the file.
        LakhxlError: it is no plain file, or too large.
    """
    try:
        content = tomllib.loads(read_plain(path, MAX_BYTES).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{path} is not TOML: {error}") from None
    found = {}
    for section, values in content.items():
        if section not in classes:
            raise SettingError(f"{path}: {_unknown_section(section, classes)}")
        where = f"{path}: [{section}]"
        found[section] = settings.checked(
            classes[section], _with_none(classes[section], values), where=where
        )
    return found


def _unknown_section(name: str, classes: "Mapping[str, type[DataclassInstance]]") -> str:
    for section, cls in classes.items():
        if name in typing.get_type_hints(cls):
            return f"{name} is in no section; it belongs below [{section}]"
    return f"unknown section [{name}]{settings.nearest(name, classes)}"


def _with_none(cls: type, values: Any) -> Any:
    """The values, with None for "none" where that is allowed: TOML has no null."""
    if not isinstance(values, dict):
        return values
    hints = typing.get_type_hints(cls)

    def is_none(name: str, value: Any) -> bool:
        return value == "none" and types.NoneType in typing.get_args(hints.get(name))

    return {name: None if is_none(name, value) else value for name, value in values.items()}


def settings_text(
    sections: "Mapping[str, DataclassInstance]", without: Collection[str] = ()
) -> str:
    """A TOML file that states all settings, each below its meaning, for `read_settings`.

    Args:
        sections: section -> settings.
        without: names to leave out.
    """
    lines = []
    for section, group in sections.items():
        lines += ["", f"[{section}]"]
        for field in settings.fields_of(group):
            if field.name in without:
                continue
            allowed = f" ({field.allowed})" if field.allowed else ""
            help = textwrap.wrap(f"{field.help}{allowed}", WIDTH - 2)
            lines += [f"# {line}" for line in help] + [f"{field.name} = {_value(field)}"]
    return "\n".join(lines[1:])


def _value(field: settings.Description) -> str:
    if not field.type.startswith("str") and field.default != "none":
        return field.default
    quoted = json.dumps(field.default, ensure_ascii=False)
    return quoted.replace("\x7f", r"\u007f")  # the one character that only TOML escapes


def config_option(
    classes: "Mapping[str, type[DataclassInstance]]", help: str
) -> Callable[[Callable], Callable]:
    """Give a command --config, whose values are the defaults of its options.

    Args:
        classes: section -> settings class, whose fields are options (`settings.options_for`).
        help: of the option.
    """

    def load(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
        if path is not None:
            sections = read_settings(path, classes).values()
            ctx.default_map = {name: value for group in sections for name, value in group.items()}

    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE.toml",
        is_eager=True,
        expose_value=False,
        callback=load,
        help=help,
    )
