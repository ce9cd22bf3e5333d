"""Every rule at its bound and just beyond it."""

import dataclasses
import operator

import pytest

from pipeline.clean.rules import RULES, Limits, rejection
from shards.settings import SettingError

ORDINARY = {
    "notes": 1000,
    "onsets": 500,
    "sounds": 40,
    "seconds": 200.0,
    "bars": 100,
    "notes_per_second": 5.0,
    "busiest_second": 30,
    "parts": 8,
    "onset_error_ms_95": 20.0,
    "bpm": 120.0,
    "same_pitch_share": 0.1,
    "same_duration_share": 0.3,
    "durations_lengthened": 0,
    "notes_merged": 0,
}
"""The measurements of a song that no rule rejects."""
LIMITS = Limits(max_same_duration_share=0.9)


def with_value(rule, value):
    """A song of which the rule measures about this value."""
    if rule.code == "mostly_lengthened":
        return ORDINARY | {"durations_lengthened": round(1000 * value)}
    if rule.code == "mostly_merged":
        return ORDINARY | {"notes": round(1000 * (1 - value)), "notes_merged": round(1000 * value)}
    return ORDINARY | {rule.measured: value}


def beyond(rule, bound):
    step = 1 if isinstance(bound, int) else 0.01
    return bound - step if rule.broken_by is operator.lt else bound + step


def test_an_ordinary_song_is_kept():
    assert rejection(ORDINARY, LIMITS) is None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_bound_is_allowed_and_a_value_beyond_it_is_rejected(rule):
    bound = getattr(LIMITS, rule.bound)
    assert rejection(with_value(rule, bound), LIMITS) is None
    found = rejection(with_value(rule, beyond(rule, bound)), LIMITS)
    assert found is not None
    assert dataclasses.astuple(found) == (rule.code, pytest.approx(beyond(rule, bound)), bound)


def test_every_limit_has_its_rule():
    assert {rule.bound for rule in RULES} == {field.name for field in dataclasses.fields(Limits)}
    assert len({rule.code for rule in RULES}) == len(RULES)


def test_the_first_rule_that_is_broken_is_named():
    found = rejection(ORDINARY | {"seconds": 1.0, "bpm": 999.0}, LIMITS)
    assert found is not None
    assert found.rule == "too_short"


def test_a_missing_measurement_passes():
    song = ORDINARY | {"same_duration_share": None}
    assert rejection(song, Limits(max_same_duration_share=0)) is None


def test_more_bars_than_the_arrays_can_hold_are_refused():
    assert Limits(max_bars=65_536)
    with pytest.raises(SettingError, match="at most 65536"):
        Limits(max_bars=65_537)
