import pyarrow as pa
import pytest

from shards import where
from shards.errors import LakhxlError

SONGS = pa.table({"notes": [9, 3, None], "programs": [[1, 2], [], [5]], "path": ["a", "b", "c"]})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("notes / 3 >= 2 or path like '%c'", [True, False, True]),
        ("list_contains(programs, 2) -- the second", [True, False, False]),
        ("song in (0, 2) and programs[1] between 1 and 5", [True, False, True]),
        ("case when notes is null then true else not starts_with(path, 'a') end", [0, 1, 1]),
        ("null", [False] * 3),
    ],
)
def test_a_condition_is_made_of_columns_constants_and_functions(condition, expected):
    assert where.matching_songs(SONGS, condition).tolist() == expected


@pytest.mark.parametrize(
    "condition",
    [
        "length(repeat('x', 4000000000)) > 0",
        "len(range(1000000000)) > 0",
        "lpad('x', 2000000000, 'y') = path",
        "replace(replace(path, 'a', path || path), 'a', path || path) = ''",
        "(select count(*) from range(10000000000000)) > notes",
        "exists (from read_text('/etc/passwd'))",
        "list_transform(programs, lambda one: one + 1) is null",
        "random() > 0.5",
        "columns('.*') is null",
        "count(*) over () > 1",
        "notes > 3; drop table x",
        "true union select 1",
        "notes from range(3)",
        "notes > 3) or (true",
        "path = '\ud800'",
        "(" * 5000 + "true" + ")" * 5000,
        "not " * 20_000 + "true",
        "true or " * 20_000 + "true",
        "",
    ],
)
def test_what_could_grow_or_read_anything_else_is_refused_before_it_is_run(condition):
    with pytest.raises(LakhxlError, match="--where"):
        where.matching_songs(SONGS, condition)


def test_a_condition_that_takes_long_is_stopped(monkeypatch):
    monkeypatch.setattr(where, "MAX_SECONDS", 0.1)
    songs = pa.table({"notes": range(1_000_000)})
    with pytest.raises(LakhxlError, match=r"it takes more than 0\.1 s"):
        where.matching_songs(songs, "md5(" * 40 + "notes::varchar" + ")" * 40 + " = ''")
