import numpy as np
import pytest

from shards.vocabulary import PROGRAMS
from trainer.generation.writer import Constraints, SongWriter


@pytest.fixture
def begin(vocabulary):
    """Writes tokens by name, a pitch as (name, class); by default every instrument may play."""

    def begun(*names, **constraints):
        constraints.setdefault("instruments", np.ones(vocabulary.instruments, bool))
        writer = SongWriter(vocabulary, Constraints(**constraints))
        writer.start()
        for name in ("m4/4", "t120.0", *names):
            name, instrument = name if isinstance(name, tuple) else (name, 0)
            writer.append_sampled(vocabulary.ids[name], instrument)
        return writer

    return begun


def names_of(vocabulary, writer, **options):
    return [vocabulary.names[token] for token in np.flatnonzero(writer.allowed_tokens(**options))]


def test_a_chord_ascends_by_class_then_descends_by_pitch(begin):
    allowed = begin(("n60", 10), "d12").allowed_notes()
    assert not allowed[:, :10].any()
    assert allowed[:60, 10].all()
    assert not allowed[60:, 10].any()
    assert allowed[:, 11:PROGRAMS].all()


def test_after_a_rest_every_program_may_play_again(begin):
    assert begin(("n60", 10), "d12", "<sep>", "d12").allowed_notes()[:, :PROGRAMS].all()


def test_after_the_last_drum_only_a_rest_may_come(begin, vocabulary):
    writer = begin(("n81", 174), "d3")
    assert names_of(vocabulary, writer) == ["<sep>"]


def test_at_max_programs_no_other_program_may_enter(begin):
    writer = begin(("n60", 10), "d12", ("n64", 20), "d12", "<sep>", "d12", max_programs=2)
    allowed = writer.allowed_notes()
    assert np.flatnonzero(allowed[60, :PROGRAMS]).tolist() == [10, 20]
    assert allowed[40, PROGRAMS + 5]  # drums are not counted


def test_only_the_chosen_instruments_may_play(begin, vocabulary):
    chosen = np.zeros(vocabulary.instruments, bool)
    chosen[[3, PROGRAMS]] = True
    allowed = begin(instruments=chosen).allowed_notes()
    assert np.flatnonzero(allowed.any(axis=0)).tolist() == [3, PROGRAMS]
    assert np.flatnonzero(allowed[:, PROGRAMS]).tolist() == [35]


def test_drums_alone_play_only_percussion_keys(begin, vocabulary):
    drums = np.arange(vocabulary.instruments) >= PROGRAMS
    names = names_of(vocabulary, begin(instruments=drums))
    assert names == ["<sep>", *(f"n{key}" for key in range(35, 82))]


def test_without_changes_meter_and_tempo_stay(begin, vocabulary):
    rest = ["n60", "d12", "<sep>", "d48"]
    changing = set(names_of(vocabulary, begin(*rest)))
    steady = set(names_of(vocabulary, begin(*rest, allow_changes=False)))
    assert {name[0] for name in changing - steady} == {"m", "t"}


def test_a_song_ends_by_itself_only_if_allowed(begin, vocabulary):
    notes = ["n60", "d12"]
    assert "<eos>" not in names_of(vocabulary, begin(*notes))
    assert "<eos>" in names_of(vocabulary, begin(*notes, allow_ending=True))
    assert "<eos>" not in names_of(vocabulary, begin(allow_ending=True))  # no note yet


def test_a_note_without_velocity_takes_its_instruments_last_one(begin):
    writer = begin(("n60", 10), "d12", ("n60", 11), "d12")
    assert [row[2] for row in writer.rows[3:]] == [20, 255, 20, 255]
    writer = begin()
    writer.append(writer.vocabulary.ids["n60"], 10, 7)
    writer.append_sampled(writer.vocabulary.ids["d12"], 0)
    writer.append_sampled(writer.vocabulary.ids["<sep>"], 0)
    writer.append_sampled(writer.vocabulary.ids["d12"], 0)
    writer.append_sampled(writer.vocabulary.ids["n62"], 10)
    assert writer.rows[-1][2] == 7


def test_seconds_follow_the_tempo(begin):
    writer = begin("n60", "d12", "<sep>", "d24", "t60.0", "n60", "d1", "<sep>", "d12", "n60")
    assert writer.seconds == pytest.approx(2 * 0.5 + 1.0)


def test_a_long_loop_is_blocked_but_not_the_duration_of_a_note(begin, vocabulary):
    bar = ["n60", "d12", "<sep>", "d48"]
    writer = begin(*bar * 6, max_loop_bars=3)
    assert "n60" not in names_of(vocabulary, writer)
    assert "n61" in names_of(vocabulary, writer)
    writer = begin(*bar * 6, "n60", max_loop_bars=3)
    assert "d12" in names_of(vocabulary, writer)
    assert "n60" in names_of(vocabulary, begin(*bar * 6))
