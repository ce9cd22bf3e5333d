"""Jinja templates for pages that open from disk, fetch nothing and run no script.

Every value that a template prints is escaped, unless it is Markup made by our own code; control
and formatting characters are shown by their code, as `shards.console.visible` has it.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report import number_format
from shards.console import visible

STYLE = files("pipeline.report.html") / "style.css"


def render(template: str, **values: Any) -> str:
    """One of `templates/` as a whole page, its style included."""
    style = Markup(STYLE.read_text(encoding="utf-8"))
    return _environment().get_template(template).render(style=style, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else visible(value),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (
        number_format.count,
        number_format.digits,
        number_format.hours,
        number_format.reason_name,
        number_format.share,
        number_format.short,
        number_format.words,
    ):
        environment.filters[function.__name__] = function
    return environment
