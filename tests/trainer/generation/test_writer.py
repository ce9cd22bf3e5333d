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


def playable_drums(vocabulary, writer):
    return writer.playable_tokens()[vocabulary.drum0 : vocabulary.duration0]


def drums_after_the_last(vocabulary, writer):
    """By their order within a step: which classes come after all that have played in it."""
    drums = np.arange(PROGRAMS, vocabulary.instruments)
    played = []
    for token, instrument, *_ in writer.rows:
        is_rest = vocabulary.names[token].startswith("r")
        played = [] if is_rest else [*played, instrument] if writer.is_note(token) else played
    return drums > max(played, default=-1)


@pytest.mark.parametrize("max_programs", [None, 2])
@pytest.mark.parametrize("instruments", ["all", "few", "drums"])
def test_playable_tokens_are_those_that_an_instrument_may_play(
    begin, vocabulary, instruments, max_programs
):
    v, random = vocabulary, np.random.default_rng(0)
    chosen = np.ones(v.instruments, bool)
    if instruments != "all":
        chosen[:PROGRAMS] = np.arange(PROGRAMS) % 60 == 5 if instruments == "few" else False
    writer = begin(instruments=chosen, max_programs=max_programs)
    for _ in range(300):
        notes, expected = writer.allowed_notes(), writer.cursor.allowed().copy()
        expected[v.pitch0 : v.drum0] &= notes.any(axis=1)
        expected[v.drum0 : v.duration0] &= chosen[PROGRAMS:] & drums_after_the_last(v, writer)
        expected[v.bend0 : v.unused0] &= notes.any()
        assert np.array_equal(writer.playable_tokens(), expected)
        expected[v.eos] = False
        is_note = expected & (np.arange(len(v)) < v.duration0)
        likely = is_note if is_note.any() and random.random() < 0.8 else expected
        token = int(random.choice(np.flatnonzero(likely)))
        if writer.has_instrument(token):
            is_pitch = token < v.drum0
            row = notes[token - v.pitch0] if is_pitch else notes.any(axis=0)
            assert np.array_equal(writer.allowed_instruments(token), row)
            writer.append_sampled(token, int(random.choice(np.flatnonzero(row))))
        else:
            writer.append_sampled(token, 0)


def test_a_chord_ascends_by_class_then_descends_by_pitch(begin):
    allowed = begin(("n60", 10), "d12").allowed_notes()
    assert not allowed[:, :10].any()
    assert allowed[:60, 10].all()
    assert not allowed[60:, 10].any()
    assert allowed[:, 11:].all()


def test_drums_follow_the_programs_and_ascend_by_key(begin, vocabulary):
    writer = begin(("n60", 10), "d12", "k36")
    assert not writer.allowed_notes().any()
    assert playable_drums(vocabulary, writer).tolist() == [key > 36 for key in range(27, 88)]
    assert writer.rows[-1][1] == vocabulary.drum_classes[36]


def test_after_a_rest_every_program_may_play_again(begin):
    assert begin(("n60", 10), "d12", "r12").allowed_notes().all()


def test_after_the_last_drum_only_a_rest_may_come(begin, vocabulary):
    assert {name[0] for name in names_of(vocabulary, begin("k87"))} == {"r"}


def test_at_max_programs_no_other_program_may_enter(begin, vocabulary):
    writer = begin(("n60", 10), "d12", ("n64", 20), "d12", "k36", "r12", max_programs=2)
    assert np.flatnonzero(writer.allowed_notes()[60]).tolist() == [10, 20]
    assert playable_drums(vocabulary, writer).all()


def test_only_the_chosen_instruments_may_play(begin, vocabulary):
    chosen = np.zeros(vocabulary.instruments, bool)
    chosen[[3, PROGRAMS]] = True
    writer = begin(instruments=chosen)
    assert np.flatnonzero(writer.allowed_notes().any(axis=0)).tolist() == [3]
    assert np.flatnonzero(playable_drums(vocabulary, writer)).tolist() == [0]


def test_drums_alone_play_no_pitch(begin, vocabulary):
    drums = np.arange(vocabulary.instruments) >= PROGRAMS
    names = names_of(vocabulary, begin(instruments=drums))
    assert {name for name in names if name[0] != "r"} == {f"k{key}" for key in range(27, 88)}


def test_without_changes_meter_and_tempo_stay(begin, vocabulary):
    rest = ["n60", "d12", "r96"]
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
    writer.append_sampled(writer.vocabulary.ids["r12"], 0)
    writer.append_sampled(writer.vocabulary.ids["n62"], 10)
    assert writer.rows[-1][2] == 7


def test_seconds_follow_the_tempo(begin):
    writer = begin("n60", "d12", "r48", "t60.0", "n60", "d1", "r24", "n60")
    assert writer.seconds == pytest.approx(2 * 0.5 + 1.0)


def test_a_long_loop_is_blocked_but_not_the_duration_of_a_note(begin, vocabulary):
    bar = ["n60", "d12", "r96"]
    writer = begin(*bar * 6, max_loop_bars=3)
    assert "n60" not in names_of(vocabulary, writer)
    assert "n61" in names_of(vocabulary, writer)
    writer = begin(*bar * 6, "n60", max_loop_bars=3)
    assert "d12" in names_of(vocabulary, writer)
    assert "n60" in names_of(vocabulary, begin(*bar * 6))


@pytest.mark.parametrize(
    ("steps", "shortest", "longest"),
    [(40, "r40", "r768"), (96, "r96", "r768"), (100, "r96", "r768"), (300, "r288", "r768")],
)
def test_before_the_end_of_a_prompt_only_rests_that_can_reach_it_are_allowed(
    begin, vocabulary, steps, shortest, longest
):
    prompt = begin("n60", "d12").finish()
    writer = SongWriter(vocabulary, Constraints(instruments=np.ones(vocabulary.instruments, bool)))
    writer.start(prompt, not_before=steps)
    names = names_of(vocabulary, writer)
    assert (names[0], names[-1]) == (shortest, longest)
    while writer.cursor.time + writer.cursor.due < steps:
        writer.append_sampled(vocabulary.ids[names_of(vocabulary, writer)[0]], 0)
    assert writer.cursor.time + writer.cursor.due == steps


def test_the_second_note_of_a_chord_has_another_duration_or_none(begin, vocabulary):
    durations = {name for name in vocabulary.names if name.startswith("d")}
    assert set(names_of(vocabulary, begin(("n60", 10)))) == durations
    chord = names_of(vocabulary, begin(("n60", 10), "d12", ("n55", 10)))
    assert durations - set(chord) == {"d12"}
    assert {"n54", "k36", "r12"} <= set(chord)
    assert "<eos>" in names_of(
        vocabulary, begin(("n60", 10), "d12", ("n55", 10), allow_ending=True)
    )
    assert set(names_of(vocabulary, begin(("n60", 10), "d12", ("n55", 11)))) == durations


def test_a_song_may_stop_after_a_note_that_shares_its_duration(begin, vocabulary):
    writer = begin(("n60", 10), "d12", ("n55", 10))
    assert [vocabulary.names[token] for token in writer.finish().tokens[3:]] == [
        "n60", "d12", "n55", "<eos>",
    ]  # fmt: skip
    writer = begin(("n60", 10), "d12", ("n55", 11))
    assert [vocabulary.names[token] for token in writer.finish().tokens[3:]] == [
        "n60", "d12", "<eos>",
    ]  # fmt: skip


def test_each_note_is_told_once_with_its_duration(begin, vocabulary):
    writer, found = begin(), []
    for name, instrument in [
        ("n60", 10), ("d12", 0), ("n55", 10), ("n50", 10), ("d6", 0), ("n45", 10), ("n70", 11),
        ("d3", 0), ("k36", 0), ("r12", 0), ("n40", 10), ("d6", 0), ("n39", 10), ("r6", 0),
    ]:  # fmt: skip
        writer.append_sampled(vocabulary.ids[name], instrument)
        found += writer.completed_notes()
    drum = vocabulary.drum_classes[36], 0, vocabulary.drum_duration
    assert found == [
        (10, 60, 12), (10, 55, 12), (10, 50, 6), (10, 45, 6), (11, 70, 3), drum,
        (10, 40, 6), (10, 39, 6),
    ]  # fmt: skip
