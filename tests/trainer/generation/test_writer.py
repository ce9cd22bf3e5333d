import numpy as np
import pytest

from shards.vocabulary import PROGRAMS
from trainer.generation.writer import Rules, Writer


@pytest.fixture
def begin(vocabulary):
    """Writes tokens by name, a note's as (name, class); all may play unless told otherwise."""

    def begun(*names, **rules):
        band = rules.pop("band", np.ones(vocabulary.instruments, bool))
        writer = Writer(vocabulary, Rules(band=band, **rules))
        writer.start()
        for name in ("m4/4", "t120.0", *names):
            name, player = name if isinstance(name, tuple) else (name, 0)
            writer.add_next(vocabulary.ids[name], player)
        return writer

    return begun


def names_of(vocabulary, writer, **options):
    return [vocabulary.names[token] for token in np.flatnonzero(writer.tokens(**options))]


def test_a_chord_goes_up_by_class_and_down_by_pitch(begin):
    players = begin(("n60", 10), "d12").players()
    assert not players[:, :10].any()
    assert players[:60, 10].all()
    assert not players[60:, 10].any()
    assert players[:, 11:PROGRAMS].all()


def test_after_a_rest_everybody_may_play_again(begin):
    assert begin(("n60", 10), "d12", "<sep>", "d12").players()[:, :PROGRAMS].all()


def test_after_the_last_drum_only_a_rest_may_come(begin, vocabulary):
    writer = begin(("n81", 174), "d3")
    assert names_of(vocabulary, writer) == ["<sep>"]


def test_once_enough_play_no_other_may_enter(begin):
    writer = begin(("n60", 10), "d12", ("n64", 20), "d12", "<sep>", "d12", most_programs=2)
    players = writer.players()
    assert np.flatnonzero(players[60, :PROGRAMS]).tolist() == [10, 20]
    assert players[40, PROGRAMS + 5]  # drums are not counted


def test_only_the_band_plays(begin, vocabulary):
    band = np.zeros(vocabulary.instruments, bool)
    band[[3, PROGRAMS]] = True
    players = begin(band=band).players()
    assert np.flatnonzero(players.any(axis=0)).tolist() == [3, PROGRAMS]
    assert np.flatnonzero(players[:, PROGRAMS]).tolist() == [35]


def test_a_band_of_drums_plays_only_keys_that_are_drums(begin, vocabulary):
    band = np.arange(vocabulary.instruments) >= PROGRAMS
    found = names_of(vocabulary, begin(band=band))
    assert found == ["<sep>", *(f"n{key}" for key in range(35, 82))]


def test_meter_and_tempo_stay_where_they_may_not_change(begin, vocabulary):
    rest = ["n60", "d12", "<sep>", "d48"]
    changing = set(names_of(vocabulary, begin(*rest)))
    steady = set(names_of(vocabulary, begin(*rest, may_change=False)))
    assert {name[0] for name in changing - steady} == {"m", "t"}


def test_a_song_ends_by_itself_only_where_it_may(begin, vocabulary):
    notes = ["n60", "d12"]
    assert "<eos>" not in names_of(vocabulary, begin(*notes))
    assert "<eos>" in names_of(vocabulary, begin(*notes, may_end=True))
    assert "<eos>" not in names_of(vocabulary, begin(may_end=True))  # no note yet


def test_a_velocity_is_that_of_the_instruments_note_before(begin):
    writer = begin(("n60", 10), "d12", ("n60", 11), "d12")
    assert [row[2] for row in writer.rows[3:]] == [20, 255, 20, 255]
    writer = begin()
    writer.add(writer.vocabulary.ids["n60"], 10, 7)
    writer.add_next(writer.vocabulary.ids["d12"], 0)
    writer.add_next(writer.vocabulary.ids["<sep>"], 0)
    writer.add_next(writer.vocabulary.ids["d12"], 0)
    writer.add_next(writer.vocabulary.ids["n62"], 10)
    assert writer.rows[-1][2] == 7


def test_seconds_follow_the_tempo(begin, vocabulary):
    writer = begin("n60", "d12", "<sep>", "d24", "t60.0", "n60", "d1", "<sep>", "d12", "n60")
    assert writer.seconds == pytest.approx(2 * 0.5 + 1.0)


def test_a_loop_is_left_but_a_note_keeps_its_duration(begin, vocabulary):
    bar = ["n60", "d12", "<sep>", "d48"]
    writer = begin(*bar * 6, max_loop_bars=3)
    assert "n60" not in names_of(vocabulary, writer)
    assert "n61" in names_of(vocabulary, writer)
    writer = begin(*bar * 6, "n60", max_loop_bars=3)
    assert "d12" in names_of(vocabulary, writer)
    assert "n60" in names_of(vocabulary, begin(*bar * 6))
