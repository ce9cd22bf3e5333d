import pyarrow as pa
import pytest

from shards import where
from shards.errors import LakhxlError


def test_a_condition_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr(where, "MAX_SECONDS", 0.2)
    endless = "(select count(*) from range(10000000000000)) > notes"
    with pytest.raises(LakhxlError, match=r"it takes more than 0\.2 s"):
        where.matching_songs(pa.table({"notes": [9]}), endless)
