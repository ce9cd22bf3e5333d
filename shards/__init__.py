"""The dataset format that pipeline writes and trainer reads. Imports neither of them."""

from shards.errors import LakhxlError, SettingError, ShardError
from shards.reader import Dataset, open_dataset

__all__ = ["Dataset", "LakhxlError", "SettingError", "ShardError", "open_dataset"]
