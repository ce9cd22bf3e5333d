"""The songs that a server holds, so that a page can go on from them or take them home."""

import secrets
import threading
from collections import OrderedDict
from pathlib import Path

from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError
from shards.outputs import check_outputs
from shards.render.midi import write_midi

KEPT = 500
"""Takes held; the one not used for longest is dropped. A song has about 50 kB."""


class Takes:
    """Songs by an id that cannot be guessed; threads may share it.

    Args:
        codec: of the songs.
        folder: gets every take as take-N.mid, whole or as far as it is written; None: nothing is
            written to disk.

    Raises:
        LakhxlError: the folder cannot be written.
    """

    def __init__(self, codec: Codec, folder: Path | None = None) -> None:
        self._codec, self._folder, self._number = codec, folder, 0
        self._songs: OrderedDict[str, EncodedSong] = OrderedDict()
        self._files: dict[str, Path] = {}
        self._lock = threading.Lock()
        if folder is not None:
            check_outputs([folder / "take-1.mid"], overwrite=True)

    def new_id(self) -> str:
        """An id for a song to come."""
        return secrets.token_hex(8)

    def put(self, key: str, song: EncodedSong) -> None:
        """Keep a song, in place of the one that had its id."""
        with self._lock:
            self._songs[key] = song
            self._songs.move_to_end(key)
            while len(self._songs) > KEPT:
                dropped, _ = self._songs.popitem(last=False)
                self._files.pop(dropped, None)
            if self._folder is not None:
                if key not in self._files:
                    self._files[key] = self._new_file()
                write_midi(self._codec.decode(song), self._files[key], self._codec.vocabulary)

    def _new_file(self) -> Path:
        """A file of the folder that is not there yet."""
        assert self._folder is not None
        while True:
            self._number += 1
            file = self._folder / f"take-{self._number}.mid"
            if not file.exists():
                return file

    def get(self, key: str) -> EncodedSong:
        """A song by its id.

        Raises:
            LakhxlError: there is none, or it was dropped.
        """
        with self._lock:
            if key not in self._songs:
                raise LakhxlError("this take is no longer held by the server: write it again")
            self._songs.move_to_end(key)
            return self._songs[key]
