"""Does compiled code follow its sources, and find the names that a pattern finds?"""

import importlib
import inspect
import re
import sys
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.midi import compiled
from pipeline.midi.drum_names import says_drums
from tests.test_layers import imported_modules

NAMES_DRUMS = re.compile(
    rb"drum|perc(?!eive)|(?<![a-z])kit(?![a-z])|batter|bater|schlag(?:zeug|werk)|"
    rb"\x83h\x83\x89\x83\x80|\xe3\x83\x89\xe3\x83\xa9\xe3\x83\xa0",
    re.IGNORECASE,
)
NAMES_PITCHES = re.compile(rb"timpan|timbal|pauke|kettle|steel|taiko|melodic", re.IGNORECASE)
WORDS = re.findall(rb"[a-z\x80-\xff]+", NAMES_DRUMS.pattern + NAMES_PITCHES.pattern)
WORDS += [b"schlagzeug", b"perceive", "ドラム".encode("shift-jis"), "ドラム".encode()]
pieces = st.one_of(st.sampled_from(WORDS), st.binary(max_size=2), st.sampled_from([b"a", b" "]))


@given(st.lists(pieces, max_size=6), st.booleans(), st.binary(max_size=3), st.data())
def test_a_name_says_drums_where_the_pattern_finds_them(parts, is_upper, behind, data):
    name = b"".join(parts).upper() if is_upper else b"".join(parts)
    before = data.draw(st.binary(min_size=1, max_size=2))
    file, stop = before + name + behind, len(before) + len(name)
    expected = bool(
        NAMES_DRUMS.search(file, len(before), stop)
        and not NAMES_PITCHES.search(file, len(before), stop)
    )
    assert says_drums(np.frombuffer(file, np.uint8).copy(), len(before), stop) == expected


def test_the_reader_is_compiled_anew_when_any_file_that_it_calls_changes():
    watched = {module.__name__ for module in compiled.KERNELS}
    imported = {
        name
        for name in imported_modules(Path(compiled.__file__))
        if name.startswith("pipeline.midi.") and name.count(".") == 2
    }
    assert imported == watched
    for module in compiled.KERNELS:  # and these call into no others
        names = imported_modules(Path(inspect.getfile(module)))
        assert not [name for name in names if name.startswith("pipeline")]


CALLER = """
from numba import njit
import {callee}
def make(sources):
    @njit(cache=True)
    def call():
        _ = sources
        return {callee}.value()
    return call
"""
CALLEE = "from numba import njit\n@njit\ndef value():\n    return {}\n"


def test_what_a_kernel_encloses_is_part_of_its_key_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "caller_of_callee.py").write_text(CALLER.format(callee="callee_of_caller"))

    def called(value: int, sources: bytes) -> int:
        """What a new process would get."""
        (tmp_path / "callee_of_caller.py").write_text(CALLEE.format(value))
        importlib.invalidate_caches()
        for name in ("callee_of_caller", "caller_of_callee"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module("caller_of_callee").make(sources)()

    assert called(1, b"a") == 1
    assert called(2, b"a") == 1  # numba does not look at the file that is called
    assert called(2, b"b") == 2
