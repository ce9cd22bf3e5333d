"""The dataset format that pipeline writes and trainer reads. It imports neither of them.

Files:
    song, bars, gm    a song on a grid; its bar lines; General MIDI names
    vocabulary        tokens and instrument classes, by the codec's settings
    codec, grammar    a song as arrays and back; the same stream token by token
    layout            file names, array types and table columns
    writer, reader    write files all or nothing; open a dataset and its songs
    mapped_files      memory-map tables and arrays, without keeping files open
    check             what is wrong with a manifest, a table or a song
    json_types        whether JSON has the types of a TypedDict
    plain_file        open files that others may have prepared; JSON of bounded size
    file_lock         a file that one process at a time holds
    where, verify     select songs by an SQL condition; check a whole dataset
    render/           a song as a MIDI file, a picture or sound
    web/              what the pages of both programs share
    settings          settings classes with help texts and bounds
    settings_file     the same in a TOML file
    start, console    the start of a program; command lines and progress bars
    text              foreign text made safe to print
    errors, memory    errors that the user can fix; those that come of too little memory
"""

from typing import TYPE_CHECKING

from shards.errors import LakhxlError, SettingError, ShardError

if TYPE_CHECKING:
    from shards.reader import Dataset, SongSource, open_dataset
else:

    def __getattr__(name: str) -> object:
        """Load the reader, and pyarrow with it, when one of its names is first asked for."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from shards import reader

        return getattr(reader, name)


__all__ = ["Dataset", "LakhxlError", "SettingError", "ShardError", "SongSource", "open_dataset"]
