"""JSON against the types of a TypedDict: the first departure is named by its keys."""

from typing import TypedDict

import pytest

from shards.json_types import type_fault


class Inner(TypedDict):
    count: int
    share: float | None


class Outer(TypedDict):
    name: str
    rows: list[Inner]
    sizes: dict[str, int]


GOOD = {"name": "a", "rows": [{"count": 1, "share": 2}, {"count": 0, "share": None}], "sizes": {}}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"sizes": {"x": 2**63 - 1}}, None),
        ({"name": None}, "name is None, expected str"),
        ({"more": 1}, "it has an unknown 'more'"),
        ({"rows": {}}, "rows is an object, expected a list"),
        ({"rows": [{"count": 1}]}, "rows.0 lacks 'share'"),
        ({"rows": [{"count": True, "share": None}]}, "rows.0.count is True, expected int"),
        ({"rows": [{"count": 1.0, "share": None}]}, "rows.0.count is 1.0, expected int"),
        ({"rows": [{"count": 1, "share": "1"}]}, "rows.0.share is '1', expected float | None"),
        ({"rows": [{"count": 1, "share": float("nan")}]}, "rows.0.share is nan"),
        ({"sizes": {"x": -1}}, "sizes.x is -1, expected int"),
        ({"sizes": {"x": 2**63}}, "sizes.x is 9223372036854775808, expected int"),
        ({"sizes": []}, "sizes is a list, expected an object"),
    ],
)
def test_the_first_departure_is_named_by_its_keys(change, fault):
    found = type_fault({**GOOD, **change}, Outer)
    assert (found is None) if fault is None else (found or "").startswith(fault)


@pytest.mark.parametrize("value", [None, [], 1, "x"])
def test_what_is_no_object_is_refused(value):
    assert (type_fault(value, Outer) or "").endswith("expected an object")
