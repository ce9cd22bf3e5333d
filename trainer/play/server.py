"""What `trainer play` answers: the page, what it writes while it is written, and the takes.

Requests that write are POST with a type that other sites' pages cannot send without being asked
for leave (CORS), which nobody gives; and their Origin must be the address that was asked.
"""

import io
import re
import select
import socket
import tempfile
import threading
from collections.abc import Callable, Generator
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError
from shards.gm import FAMILIES
from shards.plain_file import open_plain
from shards.render.audio import AudioError, check_sound, find_soundfont, wav_bytes
from shards.render.midi import to_midi
from shards.text import visible
from shards.web.server import (
    HTML,
    JSON,
    POLICY,
    SHARED,
    Answer,
    Handler,
    RequestRefused,
    Server,
    bind,
    json_answer,
    static_answers,
)
from trainer.generation.prompt import encode_midi
from trainer.generation.trained import TrainedModel
from trainer.play.order import MAX_BARS, MAX_TAKES, parse_order
from trainer.play.takes import Takes
from trainer.play.writing import Writer

MAX_ORDER, MAX_MIDI = 2**14, 2**22
"""Bytes of a request, and of a MIDI file that is opened: the largest of Lakh has 1.6 MB."""
PIECE = 2**20
PAGE_POLICY = POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")
"""The synthesizer brings the decoder of .sf3 files as WebAssembly; text is still no script."""
SCRIPT = "text/javascript"
PAGE = files("trainer.play") / "static"
STATIC = {
    **SHARED,
    "/": (PAGE / "page.html", HTML),
    "/play.css": (PAGE / "play.css", "text/css"),
    "/play.js": (PAGE / "play.js", SCRIPT),
    "/form.js": (PAGE / "form.js", SCRIPT),
    "/roll.js": (PAGE / "roll.js", SCRIPT),
    "/player.js": (PAGE / "player.js", SCRIPT),
    "/spessasynth.js": (PAGE / "vendor" / "spessasynth.min.js", SCRIPT),
    "/spessasynth_processor.js": (PAGE / "vendor" / "spessasynth_processor.min.js", SCRIPT),
}
TAKE = re.compile(r"/api/take/([0-9a-f]{16})\.(mid|wav)")


class Site:
    """The answers: address in, content type and content out. Knows nothing of HTTP.

    Args:
        model: to write with.
        soundfont: an .sf2 file to play with; None: one that the system has, if any.
        save: a folder for every take, see `Takes`.
    """

    def __init__(self, model: TrainedModel, soundfont: Path | None, save: Path | None) -> None:
        self._model, self._codec = model, Codec(model.run.vocabulary)
        self._takes = Takes(self._codec, save)
        self._writer = Writer(model, self._takes)
        self.files = static_answers(STATIC)
        self.files["/"] = self.files["/"]._replace(policy=PAGE_POLICY)
        self._rendering, self._opening = threading.Lock(), threading.Lock()
        self._soundfont, self._sound_fault = _find_soundfont(soundfont)
        self._wav_fault = self._sound_fault or _wav_fault(self._soundfont)

    def answer(self, path: str, query: dict[str, list[str]]) -> Answer:
        """What is at an address.

        Raises:
            RequestRefused: nothing is.
        """
        if path in self.files:
            return self.files[path]
        if path == "/api/about":
            return json_answer(self._about())
        if path == "/soundfont" and self._soundfont and self._soundfont.is_file():
            return Answer("application/octet-stream", _pieces(self._soundfont))
        if asked := TAKE.fullmatch(path):
            return self._take(asked[1], asked[2])
        raise RequestRefused(404, "there is nothing here")

    def _about(self) -> dict[str, Any]:
        run = self._model.run
        model, vocabulary = run.config.model, run.vocabulary
        return {
            "name": visible(run.path.resolve().name),
            "steps_per_beat": vocabulary.settings.steps_per_beat,
            "instruments": vocabulary.instrument_names,
            "families": [[family, len(programs)] for family, programs in FAMILIES],
            "meters": [f"{n}/{d}" for n, d in vocabulary.meters],
            "bar_steps": {f"{n}/{d}": steps for (n, d), steps in vocabulary.bar_steps.items()},
            "conditions": model.conditions,
            "rearranged": run.config.train.rearranged > 0,
            "most": {"bars": MAX_BARS, "takes": MAX_TAKES, "midi": MAX_MIDI},
            "soundfont": bool(self._soundfont),
            "sound_fault": visible(self._sound_fault),
            "wav_fault": visible(self._wav_fault),
        }

    def _take(self, key: str, kind: str) -> Answer:
        try:
            song = self._takes.get(key)
        except LakhxlError as error:
            raise RequestRefused(404, str(error)) from None
        midi = to_midi(self._codec.decode(song), self._codec.vocabulary)
        if kind == "wav":
            with self._rendering:
                return Answer("audio/wav", wav_bytes(midi, find_soundfont(self._soundfont)))
        stream = io.BytesIO()
        midi.save(file=stream)
        return Answer("audio/midi", stream.getvalue())

    def post(self, path: str, kind: str, body: bytes, is_gone: Callable[[], bool]) -> Answer:
        """Do what is asked at an address.

        Args:
            path: the address.
            kind: the type of the body.
            body: what to write, in JSON; or a MIDI file to open.
            is_gone: whether nobody waits for the answer any more.

        Raises:
            RequestRefused: nothing is at this address, or the body is not as expected.
        """
        try:
            if (path, kind) == ("/api/write", JSON):
                return Answer(
                    "application/x-ndjson", self._writer.write(parse_order(body), is_gone)
                )
            if (path, kind) == ("/api/stop", JSON):
                self._writer.stop(parse_order(body).page)
                return json_answer({})
            if (path, kind) == ("/api/open", "audio/midi"):
                return json_answer(self._writer.open(self._read_midi(body)))
        except LakhxlError as error:
            raise RequestRefused(400, str(error)) from None
        raise RequestRefused(404, "there is nothing to post to")

    def _read_midi(self, body: bytes) -> EncodedSong:
        run = self._model.run
        with self._opening, tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "opened.mid"
            file.write_bytes(body)
            try:
                return encode_midi(file, run.vocabulary, run.dataset_settings)
            except LakhxlError as error:
                raise LakhxlError(str(error).removeprefix(f"--prompt {file}: ")) from None


def _find_soundfont(given: Path | None) -> tuple[Path | None, str]:
    """The soundfont, or why there is none; one that is named must be there."""
    try:
        return find_soundfont(given), ""
    except AudioError as error:
        if given is not None:
            raise
        return None, str(error)


def _wav_fault(soundfont: Path | None) -> str:
    """Why this machine cannot make .wav files; empty if it can."""
    try:
        check_sound(soundfont)
    except AudioError as error:
        return str(error)
    return ""


def _pieces(path: Path) -> Generator[bytes, None, None]:
    with open_plain(path) as file:
        while piece := file.read(PIECE):
            yield piece


class PlayHandler(Handler):
    """A handler that also takes what a page posts."""

    site: Site
    methods = "GET, HEAD, POST"

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it by this name
        """Do what is asked, or state the reason for refusing in one line."""
        self._send(*self._answer())

    def _site_answer(self, address: SplitResult, query: dict[str, list[str]]) -> Answer:
        if self.command != "POST":
            return super()._site_answer(address, query)
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers['Host']}":
            raise RequestRefused(403, "the request comes from another site")
        kind = self.headers.get("Content-Type", "")
        body = self._read_body(MAX_MIDI if kind == "audio/midi" else MAX_ORDER)
        return self.site.post(address.path, kind, body, lambda: _is_closed(self.connection))

    def _read_body(self, most: int) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or "Transfer-Encoding" in self.headers:
            raise RequestRefused(411, "a request that writes says its length")
        if int(length) > most:
            raise RequestRefused(413, f"the request has {length} bytes; expected at most {most}")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise RequestRefused(400, "the request is shorter than it says")
        return body


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection over which it has nothing more to send."""
    if not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def serve(
    model: TrainedModel, port: int = 0, soundfont: Path | None = None, save: Path | None = None
) -> Server:
    """Bind a server of the page; its `serve_forever` answers until it is stopped.

    Args:
        model: to write with.
        port: 0 picks a free one.
        soundfont, save: see `Site`.

    Raises:
        LakhxlError: the port is taken, the soundfont is not there, or the folder cannot be
            written.
    """
    return bind(Site(model, soundfont, save), port, PlayHandler)
