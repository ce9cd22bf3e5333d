"""The errors that are the user's to mend, as opposed to bugs.

Each message is one line: what, where, found, expected, what to do. The command lines print it
and exit with status 1; anything else is a bug and keeps its traceback.
"""


class LakhxlError(Exception):
    """Something outside the program is not as it must be: a file, a folder, a setting."""


class ShardError(LakhxlError):
    """A dataset on disk is missing, incomplete, damaged, or of another format version."""


class SettingError(LakhxlError):
    """A setting has an unknown name or a value that is not allowed."""
