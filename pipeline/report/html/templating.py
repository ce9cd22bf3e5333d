"""Jinja templates for pages that open from disk, fetch nothing and run no script.

The content security policy of a page allows one style, by its hash, so bars get their widths by
class.

Every value that a template prints is escaped, unless it is Markup made by our own code; control
and formatting characters are shown by their code, as `shards.text.visible` has it.
"""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.report import number_format
from shards.text import visible

STYLES = files("shards.web") / "base.css", files("pipeline.report.html") / "style.css"
WIDTHS = 400
"""Widths of a bar: a quarter of a per cent is a pixel or two."""


def render(template: str, **values: Any) -> str:
    """One of `templates/` as a whole page, its style included."""
    style, style_hash = _style()
    page = _environment().get_template(template)
    return page.render(style=style, style_hash=style_hash, **values)


@cache
def _style() -> tuple[Markup, str]:
    """The style of every page, and its hash for the content security policy."""
    widths = "".join(f".w{n}{{width:{100 * n / WIDTHS:g}%}}" for n in range(WIDTHS + 1))
    styles = "".join(file.read_text(encoding="utf-8") for file in STYLES)
    style = f"{styles}{widths}\n"
    return Markup(style), b64encode(sha256(style.encode()).digest()).decode()


def width(share: float) -> str:
    """The class of a bar that fills this share of its column."""
    return f"w{round(WIDTHS * share)}"


def prose(text: str) -> Markup:
    """A sentence whose commands stand between backquotes; a single word is not broken."""
    code = Markup("<code>{}</code>"), Markup('<code class="word">{}</code>')
    return Markup("").join(
        code[" " not in piece].format(visible(piece)) if n % 2 else unbroken(piece)
        for n, piece in enumerate(text.split("`"))
    )


def unbroken(text: str) -> Markup:
    """A text that no line breaks between a number and its per cent sign."""
    return Markup(escape(visible(text)).replace(" %", Markup("&nbsp;%")))


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
        prose,
        unbroken,
        width,
    ):
        environment.filters[function.__name__] = function
    return environment
