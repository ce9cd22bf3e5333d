"""Settings in a TOML file: what is written is read back, and a typo names the file."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import LakhxlError
from shards.settings import from_json, setting
from shards.settings_file import read_settings, settings_text


@dataclass(frozen=True, kw_only=True)
class Model:
    depth: int = setting(3, "How deep.", low=1, high=9)
    drop: float = setting(0.5, "Share dropped.")
    window: int | None = setting(None, "How far.")
    kind: str = setting("a", "Which.", choices=("a", "b"))


@dataclass(frozen=True, kw_only=True)
class Train:
    where: str | None = setting(None, "Which songs.")
    fast: bool = setting(True, "Whether.")
    size: int = setting(1, "Given by the dataset.")


CLASSES = {"model": Model, "train": Train}
TEXT = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text != "none")


@given(
    model=st.builds(
        Model,
        depth=st.integers(1, 9),
        drop=st.floats(allow_nan=False, allow_infinity=False),
        window=st.none() | st.integers(0, 2**62),
        kind=st.sampled_from("ab"),
    ),
    train=st.builds(Train, where=st.none() | TEXT, fast=st.booleans()),
)
def test_what_is_written_is_read_back(tmp_path_factory, model, train):
    path = tmp_path_factory.getbasetemp() / "settings.toml"
    path.write_text(settings_text({"model": model, "train": train}, without=["size"]), newline="")
    found = read_settings(path, CLASSES)
    assert "size" not in found["train"]
    assert from_json(Model, found["model"], where="") == model
    assert from_json(Train, found["train"], where="") == train


def test_only_what_a_file_states_is_read(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("\ufeff[train]\nfast = false\n[model]\ndrop = 1\n")  # as Windows saves it
    assert read_settings(path, CLASSES) == {"train": {"fast": False}, "model": {"drop": 1.0}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[model]\ndept = 1", "[model]: unknown setting 'dept'; did you mean depth?"),
        ("[models]\ndepth = 1", "unknown section [models]; did you mean model?"),
        ("fast = true", "fast is in no section; it belongs below [train]"),
        ("train = 5", "[train] is 5; expected names and values"),
        ("[model]\ndepth = 10", "[model]: depth is 10; expected at most 9"),
        ("[model]\ndepth = 1.5", "[model]: depth is 1.5; expected int"),
        ('[model]\ndepth = "none"', "[model]: depth is 'none'; expected int"),
        ('[model]\nkind = "c"', "[model]: kind is 'c'; expected one of a, b"),
        ("[model]\ndepth = 1979-05-27", "depth is datetime.date(1979, 5, 27); expected int"),
        (f"[model]\ndepth = {2**64}", "[model]: depth has 65 bits; expected at most 63"),
        ("[model]\ndepth = 1\ndepth = 2", "is not TOML: Cannot overwrite a value"),
        ("[model]\ndepth = " + "[" * 30_000, "is not TOML: "),
        ("#" * 2**17, "has 131,072 bytes; expected at most"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_in_one_line_that_names_it(tmp_path, content, complaint):
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(LakhxlError) as refused:
        read_settings(path, CLASSES)
    assert str(refused.value).startswith(f"{path}")
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(LakhxlError, match=r"mine\.toml is not TOML"):
        read_settings(tmp_path / "mine.toml", CLASSES)
