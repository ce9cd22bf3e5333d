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
    console, text     command lines and progress bars; foreign text made safe to print
    errors, memory    errors that the user can fix; those that come of too little memory
"""

from shards.errors import LakhxlError, SettingError, ShardError
from shards.reader import Dataset, SongSource, open_dataset

__all__ = ["Dataset", "LakhxlError", "SettingError", "ShardError", "SongSource", "open_dataset"]
