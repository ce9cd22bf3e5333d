"""Errors that the user can fix, as opposed to bugs.

Each message is one line: what, where, found, expected, what to do. The command lines print it
and exit with status 1; any other exception is a bug and keeps its traceback.
"""


class LakhxlError(Exception):
    """A file, a folder, a setting or something else outside the program is wrong."""


class ShardError(LakhxlError):
    """A dataset on disk is missing, incomplete, damaged, or of another format version."""


class SettingError(LakhxlError):
    """A setting has an unknown name or a value that is not allowed."""
