"""Every rule at its bound and just beyond it."""

import dataclasses
import operator

import pytest

from pipeline.clean.rules import RULES, Limits, Rejection, rejection
from shards.settings import SettingError

SOUND = {
    "notes": 1000,
    "onsets": 500,
    "sounds": 40,
    "seconds": 200.0,
    "bars": 100,
    "notes_per_second": 5.0,
    "busiest_second": 30,
    "parts": 8,
    "bpm": 120.0,
    "same_pitch": 0.1,
    "same_duration": 0.3,
    "durations_lengthened": 0,
    "notes_merged": 0,
}
"""What is measured of a song that no rule minds."""
LIMITS = Limits(max_same_duration=0.9)


def with_value(rule, value):
    """A song of which the rule measures about this."""
    if rule.code == "clipped":
        return SOUND | {"durations_lengthened": round(1000 * value)}
    if rule.code == "mostly_doubled":
        return SOUND | {"notes": round(1000 * (1 - value)), "notes_merged": round(1000 * value)}
    return SOUND | {rule.measured: value}


def beyond(rule, bound):
    step = 1 if isinstance(bound, int) else 0.01
    return bound - step if rule.broken_by is operator.lt else bound + step


def test_a_sound_song_is_kept():
    assert rejection(SOUND, LIMITS) is None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_bound_is_allowed_and_what_lies_beyond_is_turned_down_with_its_value(rule):
    bound = getattr(LIMITS, rule.bound)
    assert rejection(with_value(rule, bound), LIMITS) is None
    worse = with_value(rule, beyond(rule, bound))
    assert rejection(worse, LIMITS) == Rejection(
        rule.code, pytest.approx(beyond(rule, bound)), bound
    )


def test_every_limit_has_its_rule():
    assert {rule.bound for rule in RULES} == {field.name for field in dataclasses.fields(Limits)}
    assert len({rule.code for rule in RULES}) == len(RULES)


def test_the_first_rule_that_is_broken_is_named():
    song = SOUND | {"seconds": 1.0, "bpm": 999.0}
    assert rejection(song, LIMITS).rule == "too_short"


def test_what_a_song_has_no_figure_of_passes():
    assert rejection(SOUND | {"same_duration": None}, Limits(max_same_duration=0)) is None


def test_bars_beyond_what_the_arrays_hold_are_refused():
    assert Limits(max_bars=65_536)
    with pytest.raises(SettingError, match="at most 65536"):
        Limits(max_bars=65_537)
