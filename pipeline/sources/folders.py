"""Search a folder for MIDI files, archives, and what is passed over; follow links where asked.

What a link leads to is decided here, once; a file is later opened by its resolved path, and only
if no link has taken its place. A file is listed once, however many names lead to it: under the
first link in the order of names, because collections of links (Hugging Face, DVC, git-annex) keep
their files under checksums; else under its own name. A folder is searched once.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.sources.archives import is_archive
from pipeline.sources.members import is_midi, unread_rule
from shards.errors import LakhxlError

FOLLOW_LINKS = {
    "none": "no link is followed",
    "inside": "links that lead to a place within the sources are followed",
    "anywhere": "every link is followed",
}
"""What can be asked for. A source that is a link itself is always followed."""


class SourceError(LakhxlError):
    """A source is missing or holds nothing to read."""


@dataclass
class Found:
    """What a folder holds. Names are relative to it, with / between their parts.

    Attributes:
        files: path of each MIDI file, links resolved -> its name.
        archives: path of each archive directly in the folder -> its name.
        passed_over: path of what may hold music but is not read -> its name and rule.
    """

    files: dict[str, str] = field(default_factory=dict)
    archives: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, tuple[str, str]] = field(default_factory=dict)


def search(root: str, follow_links: str, roots: Sequence[str]) -> Found:
    """Search a folder to any depth.

    Args:
        root: the folder, resolved.
        follow_links: a key of FOLLOW_LINKS.
        roots: all sources, resolved: what lies in one of them is inside.

    Raises:
        SourceError: a folder cannot be searched.
    """
    found, linked = Found(), {}
    links = list(_walk(root, "", found))
    if follow_links == "none":
        for name, path in links:
            _pass_over_link(name, path, found)
        return found
    followed = [*roots]
    while links:  # links in a linked folder come after all others, whatever their names
        links.sort()
        found_later: list[tuple[str, str]] = []
        for name, path in links:
            target = os.path.realpath(path)
            inside = _lies_in(target, roots)
            if not os.path.exists(target) or not (inside or follow_links == "anywhere"):  # noqa: PTH110
                _pass_over_link(name, path, found)
            elif not os.path.isdir(target):  # noqa: PTH112
                if is_midi(name):
                    linked.setdefault(target, name)
                else:
                    _add(name, path, found)
            elif not _lies_in(target, followed):
                followed.append(target)
                found_later += _walk(target, f"{name}/", found)
        links = found_later
    found.files |= linked
    return found


def _lies_in(path: str, folders: Sequence[str]) -> bool:
    return any(path == one or path.startswith(one.rstrip(os.sep) + os.sep) for one in folders)


def _walk(top: str, prefix: str, found: Found) -> Iterator[tuple[str, str]]:
    """Search a folder without following links; yields the name and path of each link."""
    stack = [(top, prefix)]
    while stack:
        folder, inside = stack.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = inside + entry.name
                    if entry.is_symlink():
                        yield name, entry.path
                    elif entry.is_dir(follow_symlinks=False):
                        stack.append((entry.path, f"{name}/"))
                    elif is_midi(entry.name):
                        found.files.setdefault(entry.path, name)
                    else:
                        _add(name, entry.path, found)
        except OSError as error:
            went_away = isinstance(error, FileNotFoundError | NotADirectoryError)
            if not went_away or folder == top:
                raise SourceError(f"{folder}: cannot be searched: {error.strerror}") from error


def _add(name: str, path: str, found: Found) -> None:
    """Add a file that is not named as MIDI, if it may hold music."""
    if is_archive(name):
        if "/" in name:
            found.passed_over[path] = name, "archive_in_folder"
        else:
            found.archives[path] = name
    elif rule := unread_rule(name):
        found.passed_over[path] = name, rule


def _pass_over_link(name: str, path: str, found: Found) -> None:
    """Count a link that is not followed, unless its name and its target say that it is no music."""
    if os.path.isdir(path):  # noqa: PTH112
        found.passed_over[path] = name, "link_to_folder"
    elif is_midi(name) or is_archive(name) or unread_rule(name):
        rule = "link" if os.path.exists(path) else "broken_link"  # noqa: PTH110
        found.passed_over[path] = name, rule
