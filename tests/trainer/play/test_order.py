"""What a page may ask for: anything else is refused in one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import LakhxlError
from trainer.play.order import MAX_TOKENS, STEERING, parse_order

UNKNOWN = ["config", "tokens", "x"]
NAMES = ["page", "take", "keep_bars", "infill", "accompany", "parts", *UNKNOWN, *STEERING]
TEXTS = st.text(max_size=8) | st.sampled_from(["9-16", "piano,drums", "3/4"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**400) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


def order_or_reason(body):
    try:
        return parse_order(body)
    except LakhxlError as error:
        return str(error)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
def test_an_order_is_within_its_bounds_or_refused(values):
    order = order_or_reason(json.dumps(values).encode())
    if isinstance(order, str):
        assert len(order.splitlines()) == 1
        return
    assert not values.keys() & {*UNKNOWN}
    assert 1 <= order.config.bars <= 256
    assert 1 <= order.config.count <= 4
    assert order.config.tokens == MAX_TOKENS


@given(st.binary(max_size=60))
def test_bytes_that_are_no_order_are_refused(body):
    if not isinstance(order_or_reason(body), str):
        assert isinstance(json.loads(body), dict)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[" * 5000, "nested deeper"),
        ('{"bars": ' + "9" * 5000 + "}", "not JSON"),
        ('{"bars": 257}', "at most 256 bars"),
        ('{"bars": NaN}', "bars is nan"),
        ('{"count": 5}', "4 takes"),
        ('{"barz": 5}', "unknown setting 'barz'"),
        ('{"infill": "1-2"}', "need a take"),
        ('{"tokens": 9}', "unknown setting 'tokens'"),
        ('{"config": {}, "top_k": 3}', "unknown setting"),
    ],
)
def test_what_is_wrong_with_an_order_is_said(body, reason):
    with pytest.raises(LakhxlError, match=reason):
        parse_order(body.encode())
