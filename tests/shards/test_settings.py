"""Settings classes: a typo is an error and never ignored."""

from dataclasses import dataclass, field

import pytest

from shards import settings
from shards.errors import SettingError
from shards.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class Inner(Settings):
    depth: int = setting(3, "How deep.", low=1, high=9)
    drop: float = setting(0.0, "Share dropped.", low=0, below=1)


@dataclass(frozen=True, kw_only=True)
class Outer(Settings):
    rate: float = setting(0.5, "How fast.")
    kind: str = setting("a", "Which.", choices=("a", "b"))
    limit: int | None = setting(None, "How many.")
    on: bool = setting(True, "Whether.")
    inner: Inner = field(default_factory=Inner)


def read(values):
    return settings.from_json(Outer, values, where="config.json")


def test_json_gives_back_the_same_settings():
    one = Outer(rate=2.0, kind="b", limit=7, inner=Inner(depth=9))
    assert read(settings.to_json(one)) == one


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"raet": 1.0}, "unknown setting 'raet'; did you mean rate"),
        ({"inner": {"dept": 1}}, "config.json: inner: unknown setting 'dept'; did you mean depth"),
        ({"zzz": 1}, "known: rate, kind"),
        ({"inner": 5}, "config.json: inner is 5; expected names and values"),
        ([1], "expected names and values"),
        ({"rate": "fast"}, "rate is 'fast'; expected float"),
        ({"limit": 1.5}, "limit is 1.5; expected int or NoneType"),
        ({"on": 1}, "on is 1; expected bool"),
        ({"kind": "c"}, "kind is 'c'; expected one of a, b"),
        ({"inner": {"depth": 0}}, "depth is 0; expected at least 1"),
        ({"inner": {"depth": 10}}, "depth is 10; expected at most 9"),
        ({"inner": {"drop": 1.0}}, "drop is 1.0; expected less than 1"),
        ({"rate": float("inf")}, "rate is inf; expected a finite number"),
        ({"inner": {"drop": float("nan")}}, "drop is nan; expected at least 0"),
    ],
)
def test_a_wrong_name_or_value_is_refused_with_its_place(values, complaint):
    with pytest.raises(SettingError, match=complaint):
        read(values)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("rate", "1e-3", 1e-3), ("limit", "4", 4), ("limit", "none", None), ("on", "False", False)],
)
def test_a_text_becomes_its_fields_type(name, text, value):
    assert settings.parse(Outer, name, text, where="--set") == value


@pytest.mark.parametrize(("name", "text"), [("rate", "x"), ("on", "1"), ("lmit", "4")])
def test_a_text_of_the_wrong_type_or_name_is_refused(name, text):
    with pytest.raises(SettingError, match="--set"):
        settings.parse(Outer, name, text, where="--set")


def test_every_setting_is_described_in_its_group_with_what_is_allowed():
    found = {field.name: field for field in settings.fields_of(Outer)}
    assert [field.name for field in settings.fields_of(Inner)] == ["depth", "drop"]
    assert list(found) == ["rate", "kind", "limit", "on", "depth", "drop"]
    assert (found["limit"].type, found["limit"].default, found["limit"].allowed) == (
        "int | None",
        "none",
        "",
    )
    assert (found["on"].default, found["kind"].allowed) == ("true", "a | b")
    assert (found["drop"].group, found["drop"].allowed) == ("inner", "at least 0, less than 1")
    assert found["on"].group == ""


def test_the_description_of_an_object_shows_its_values(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    text = settings.describe(Outer(limit=7))
    assert "limit = 7\n    How many." in text
    assert "\n\ninner\n-----\ndepth = 3  (at least 1, at most 9)\n    How deep." in text


def test_help_is_wrapped_to_the_terminal_but_never_past_100_columns(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Wordy:
        text: str = setting("", "words " * 100)

    for columns, longest in (("40", 40), ("400", 100)):
        monkeypatch.setenv("COLUMNS", columns)
        lines = settings.describe(Wordy).splitlines()
        assert longest - 6 < max(map(len, lines)) <= longest
