"""What `pipeline browse` answers: a dataset's songs as a page. It only reads."""

import hashlib
import io
import json
import re
import shlex
import threading
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.browse.boxes import QueryError, boxes_of
from pipeline.browse.music import music
from pipeline.browse.originals import Originals
from pipeline.browse.song_facts import facts, ledger_row, removed_silences
from pipeline.browse.tables import Table, files_table, songs_table
from pipeline.report.html.report_page import report_html
from pipeline.report.read_report import read_report
from shards import Dataset
from shards.errors import LakhxlError
from shards.layout import MANIFEST
from shards.reader import decode_song
from shards.render.audio import wav_bytes
from shards.render.midi import to_midi
from shards.song import Song
from shards.text import visible
from shards.web.server import (
    HTML,
    SHARED,
    Answer,
    RequestRefused,
    Server,
    bind,
    json_answer,
    static_answers,
)
from shards.where import SONG

MAX_PAGE_SIZE = 500
MAX_DUPLICATES = 24
"""Shown of a song's cluster."""
MAX_SOUND_SECONDS = 600
"""A longer song is not played by FluidSynth: ten minutes take 420 MB while they are rendered."""
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""Of the report, whose own policy names its style; a sandboxed page leaves by a link only."""
PAGE = files("pipeline.browse") / "static"
STATIC = {
    **SHARED,
    "/": (PAGE / "page.html", HTML),
    "/style.css": (files("pipeline.report.html") / "style.css", "text/css"),
    "/browse.css": (PAGE / "browse.css", "text/css"),
    **{
        f"/{name}.js": (PAGE / f"{name}.js", "text/javascript")
        for name in ("browse", "columns", "player", "roll")
    },
    "/tabulator.css": (PAGE / "vendor" / "tabulator_simple.min.css", "text/css"),
    "/tabulator.js": (PAGE / "vendor" / "tabulator.min.js", "text/javascript"),
}
OF_TABLE = re.compile(r"/api/(songs|files)(/columns|/values|)")
ONE = re.compile(r"/api/(song|file)/(\d{1,9})(\.mid|\.wav|)")


class Site:
    """The answers: address in, content type and content out. Knows nothing of HTTP.

    Args:
        dataset: whose songs to show.
        sources: that the dataset was made of, for the notes of files that were not kept.
        soundfont: to play songs with; None: the page's own synthesizer.
    """

    def __init__(
        self, dataset: Dataset, sources: Sequence[Path] = (), soundfont: Path | None = None
    ) -> None:
        self._dataset, self._soundfont = dataset, soundfont
        self._songs, self._originals = songs_table(dataset), Originals(dataset, sources)
        if dataset.was_replaced():
            raise LakhxlError(f"{dataset.path} was replaced just now: try again")
        content = json.dumps(dataset.manifest, sort_keys=True).encode()
        self._id = hashlib.sha256(content).hexdigest()[:16]
        self._rendering = threading.Lock()  # of sound: one song takes hundreds of MB
        self.files = static_answers(STATIC)

    @cached_property
    def _not_kept(self) -> Table:
        return files_table(self._dataset)

    def answer(self, path: str, query: dict[str, list[str]]) -> Answer:
        """What is at an address.

        Raises:
            RequestRefused: nothing is at this address, the query cannot be parsed, or the dataset
                is no longer the one that was opened.
        """
        if path in self.files:
            return self.files[path]
        try:
            return self._of_dataset(path, query)
        finally:  # after reading: what was read before a replacement is of one dataset
            self._check_unchanged(query)

    def _check_unchanged(self, query: dict[str, list[str]]) -> None:
        if self._dataset.was_replaced():
            raise RequestRefused(
                409,
                f"{self._dataset.path} was replaced or removed while it was browsed: end "
                "`pipeline browse` and start it again",
            )
        if query.get("dataset", [self._id]) != [self._id]:
            raise RequestRefused(409, "this page is of another dataset than the server: reload it")

    def _of_dataset(self, path: str, query: dict[str, list[str]]) -> Answer:
        if path == "/api/about":
            return json_answer(self._about())
        if path == "/report":
            return Answer(HTML, self._report().encode(), REPORT_POLICY)
        if asked := OF_TABLE.fullmatch(path):
            table = self._songs if asked[1] == "songs" else self._not_kept
            show = {"": self._page, "/columns": _list_columns, "/values": _values}[asked[2]]
            try:
                return json_answer(show(table, query))
            except QueryError as error:
                raise RequestRefused(400, str(error)) from error
        if asked := ONE.fullmatch(path):
            return self._one(asked[1], int(asked[2]), asked[3])
        raise RequestRefused(404, "there is nothing here")

    def _about(self) -> dict[str, Any]:
        counts = self._dataset.manifest["counts"]
        return {
            "dataset": self._id,
            "name": visible(self._dataset.path.resolve().name),
            "songs": len(self._dataset),
            "files": counts["files"] - counts["songs"],
            "soundfont": self._soundfont and visible(self._soundfont.name),
        }

    def _report(self) -> str:
        """The report, with what the page inside the dataset leaves out."""
        path = self._dataset.path
        day = datetime.fromtimestamp((path / MANIFEST).stat().st_mtime).astimezone().date()
        name = visible(path.resolve().name)
        return report_html(read_report(path), name=name, made=day.isoformat())

    def _page(self, table: Table, query: dict[str, list[str]]) -> dict[str, Any]:
        given = {name: values[-1] for name, values in query.items()}
        size = min(_whole(given.get("size", "50")), MAX_PAGE_SIZE)
        page = _whole(given.get("page", "1"))
        where = table.where(boxes_of(query), given.get("q", ""))
        descending = given.get("order") == "desc"
        rows, count = table.page(where, given.get("sort", ""), descending, (page - 1) * size, size)
        words = ["trainer", "fit", str(self._dataset.path), "--where", where]
        return {
            "data": rows,
            "last_page": max(-(-count // size), 1),
            "last_row": count,
            "fit": shlex.join(words) if where and table is self._songs else "",
        }

    def _one(self, of: str, number: int, suffix: str) -> Answer:
        if of == "song" and number >= len(self._dataset):
            last = len(self._dataset) - 1
            raise RequestRefused(404, f"there is no song {number}; the last is {last}")
        ledger = self._dataset.ledger()
        if of == "file" and number >= ledger.num_rows:
            raise RequestRefused(404, f"there is no file {number}; the last is {len(ledger) - 1}")
        if suffix:
            return self._sound(self._decoded(of, number), suffix)
        row = number if of == "file" else ledger_row(self._dataset, number)
        content = {"facts": facts(self._dataset, row), "duplicates": []}
        if of == "song":
            content["duplicates"] = self._duplicates(number)
        try:
            song = self._decoded(of, number)
        except RequestRefused as refused:
            return json_answer({**content, "silent": str(refused)})
        silences = removed_silences(self._dataset, number) if of == "song" else ()
        return json_answer({**content, "music": music(song, self._dataset.vocabulary, silences)})

    def _decoded(self, of: str, number: int) -> Song:
        if of == "song":
            return decode_song(self._dataset, number)
        try:
            return self._originals.song(number)
        except LakhxlError as error:
            raise RequestRefused(404, str(error)) from error

    def _sound(self, song: Song, suffix: str) -> Answer:
        midi = to_midi(song, self._dataset.vocabulary)
        if suffix == ".mid":
            stream = io.BytesIO()
            midi.save(file=stream)
            return Answer("audio/midi", stream.getvalue())
        if self._soundfont is None or song.seconds(song.end) > MAX_SOUND_SECONDS:
            raise RequestRefused(404, "no soundfont, or a song of more than ten minutes")
        with self._rendering:
            return Answer("audio/wav", wav_bytes(midi, self._soundfont))

    def _duplicates(self, number: int) -> list[dict[str, Any]]:
        """The other songs of a song's cluster."""
        index = self._dataset.index
        clusters = index["cluster"].to_numpy()
        others = np.flatnonzero(clusters == clusters[number])
        others = others[others != number][:MAX_DUPLICATES].tolist()
        return [{SONG: other, "path": visible(index["path"][other].as_py())} for other in others]


def _list_columns(table: Table, query: dict[str, list[str]]) -> Any:
    return [{"name": one.name, "kind": one.kind} for one in table.columns.values()]


def _values(table: Table, query: dict[str, list[str]]) -> Any:
    """The values of a column in the rows that the filters of the others let pass."""
    name, search = (query.get(given, [""])[-1] for given in ("name", "q"))
    others = tuple((other, box) for other, box in boxes_of(query) if other != name)
    bins = table.histogram(name, table.where(others, search))
    return {"help": table.columns[name].help, "bins": [one._asdict() for one in bins]}


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise RequestRefused(400, f"{visible(text)!r} is not a page number")
    return int(text)


def serve(
    dataset: Dataset,
    port: int = 0,
    *,
    sources: Sequence[Path] = (),
    soundfont: Path | None = None,
) -> Server:
    """Bind a server; its `serve_forever` answers until it is stopped.

    Args:
        dataset, sources, soundfont: as for `Site`.
        port: 0 picks a free one.

    Raises:
        LakhxlError: the port is taken, or the dataset was replaced after it was opened.
    """
    return bind(Site(dataset, sources, soundfont), port)
