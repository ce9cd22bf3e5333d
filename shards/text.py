"""Text from outside, made safe to store, print and draw."""


def escape_bytes(name: str) -> str:
    r"""A file name as valid Unicode: bytes that were not UTF-8 become `\xff` and the like."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def visible(text: object, longest: int | None = None) -> str:
    """Text in one line that a terminal or a browser shows and never obeys.

    Control and formatting characters, such as escapes that move the cursor and marks that turn
    the direction of writing, become their codes, and so do lone surrogates.

    Args:
        text: anything; its `str`.
        longest: longer text loses its middle, to an ellipsis, and has about this length.
    """
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )
    if longest is None or len(shown) <= longest:
        return shown
    return f"{shown[: longest // 2]}…{shown[-(longest // 2) :]}"


def counted(number: int, noun: str) -> str:
    """A number of things: `1 song`, `2,000 songs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def visible_lines(text: str) -> str:
    """As `visible`, but of several lines."""
    return "\n".join(map(visible, text.split("\n")))
