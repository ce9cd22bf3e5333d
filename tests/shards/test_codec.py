"""Songs to arrays and back, and the cursor that reads the same stream token by token."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.codec import Codec, EncodedSong
from shards.grammar import Cursor
from shards.vocabulary import CodecSettings, Kind, Vocabulary
from tests.shards.songs import canonical_songs, make_song

VOCABULARIES = [
    Vocabulary(),
    Vocabulary(CodecSettings(steps_per_beat=4, max_duration=1, percussion="full")),
    Vocabulary(CodecSettings(steps_per_beat=96, percussion="gm", meters=False)),
    Vocabulary(CodecSettings(steps_per_beat=5, max_duration=3)),
    Vocabulary(CodecSettings(meters=False, tempos=False)),
    Vocabulary(CodecSettings(controls="bend,mod")),
    Vocabulary(CodecSettings(controls="mod", meters=False, tempos=False)),
]
WALTZ = make_song(
    [(0, 72, 0, 60, 66), (0, 96, 0, 48, 66), (0, 24, 40, 72, 66), (60, 6, 136, 35, 102)],
    meters=[(0, 3, 4)],
)
vocabularies = st.sampled_from(VOCABULARIES)


def encoded_songs(vocabulary):
    return canonical_songs(vocabulary).map(Codec(vocabulary).encode)


def names(encoded, vocabulary):
    return " ".join(vocabulary.names[token] for token in encoded.tokens)


def test_a_waltz_has_the_documented_tokens():
    vocabulary = Vocabulary()
    encoded = Codec(vocabulary).encode(WALTZ)
    assert names(encoded, vocabulary) == ("<sos> m3/4 t120.0 n60 d72 n48 d96 n72 d24 r60 k35 <eos>")
    classes = [[255] * 3, [0] * 4, [40] * 2, [255], [136], [255]]
    assert encoded.instruments.tolist() == list(chain(*classes))
    bins = [[255] * 3, [16, 255] * 3, [255], [25], [255]]
    assert encoded.velocities.tolist() == list(chain(*bins))
    assert encoded.bars.tolist() == [0] * len(encoded)
    assert encoded.steps.tolist() == [0] * 10 + [60] * 2


def test_in_a_chord_of_one_class_a_duration_is_stated_where_it_changes():
    song = make_song(
        [(0, 12, 0, 72, 66), (0, 12, 0, 67, 66), (0, 12, 0, 60, 66), (0, 6, 0, 48, 66),
         (0, 6, 40, 60, 66), (0, 6, 40, 55, 66), (0, 6, 136, 35, 66), (12, 6, 40, 55, 66)]
    )  # fmt: skip
    assert names(Codec(Vocabulary()).encode(song), Vocabulary()) == (
        "<sos> m4/4 t120.0 n72 d12 n67 n60 n48 d6 n60 d6 n55 k35 r12 n55 d6 <eos>"
    )


@given(st.data(), vocabularies)
def test_a_duration_is_left_out_exactly_where_the_note_before_has_the_same(data, vocabulary):
    song = data.draw(canonical_songs(vocabulary))
    before, wanted = None, []
    for start, duration, instrument, *_ in song.notes.tolist():
        if instrument < 128 and before != (start, instrument, duration):
            wanted.append(duration)
        before = start, instrument, duration
    tokens = Codec(vocabulary).encode(song).tokens
    stated = tokens[vocabulary.kind(tokens) == Kind.DURATION]
    assert vocabulary.durations[stated - vocabulary.duration0].tolist() == wanted


@pytest.mark.parametrize(
    ("stream", "classes", "message"),
    [
        ("n60 n55 d12", (0, 0, 0), "token 4 is n55 after n60"),
        ("n60 d12 n55", (0, 0, 40), "token 6 is <eos> after n55"),
        ("n60 d12 r1 n55", (0, 0, 255, 0), "token 7 is <eos> after n55"),
        ("n60 d12 n55 d12 d12", (0, 0, 0, 0, 0), "token 7 is d12 after d12"),
        ("n60 d12 k36 n55", (0, 0, 137, 0), "token 7 is <eos> after n55"),
    ],
)
def test_a_first_note_of_a_chord_without_a_duration_is_refused(stream, classes, message):
    vocabulary = Vocabulary()
    tokens = [vocabulary.ids[name] for name in f"<sos> m4/4 t120.0 {stream} <eos>".split()]
    instruments = np.array([255] * 3 + [*classes] + [255], np.uint8)
    zeros = np.zeros(len(tokens), np.uint8)
    song = EncodedSong(np.array(tokens, np.uint16), instruments, zeros, zeros, zeros)
    with pytest.raises(ValueError, match=message):
        Codec(vocabulary).decode(song)


@pytest.mark.parametrize(
    ("steps", "tokens"),
    [
        (1, "r1"),
        (96, "r96"),
        (97, "r96 r1"),
        (191, "r96 r95"),
        (192, "r192"),
        (200, "r192 r8"),
        (768, "r768"),
        (863, "r768 r95"),
        (864, "r768 r96"),
        (2 * 768 + 300, "r768 r768 r288 r12"),
    ],
)
def test_a_rest_is_written_longest_token_first(steps, tokens):
    vocabulary = Vocabulary()
    encoded = Codec(vocabulary).encode(make_song([(steps, 6, 136, 35, 66)]))
    assert names(encoded, vocabulary) == f"<sos> m4/4 t120.0 {tokens} k35 <eos>"


def test_controls_precede_the_notes_of_their_step_and_have_their_class():
    vocabulary = Vocabulary(CodecSettings(controls="bend,mod"))
    song = make_song(
        [(0, 12, 30, 60, 66), (6, 12, 40, 72, 66)],
        controls=[(0, 30, 1, 127), (3, 30, 0, -200), (6, 30, 0, 0), (6, 40, 0, 25)],
    )
    encoded = Codec(vocabulary).encode(song)
    assert names(encoded, vocabulary) == (
        "<sos> m4/4 t120.0 w127 n60 d12 r3 b-200 r3 b0 b25 n72 d12 <eos>"
    )
    classes = [[255] * 3, [30] * 3, [255], [30], [255], [30], [40] * 3, [255]]
    assert encoded.instruments.tolist() == list(chain(*classes))


@given(st.data(), vocabularies)
def test_decoding_gives_back_any_canonical_song(data, vocabulary):
    song = data.draw(canonical_songs(vocabulary))
    assert Codec(vocabulary).decode(Codec(vocabulary).encode(song)) == song


@given(st.data(), vocabularies)
def test_encoding_again_gives_back_every_array(data, vocabulary):
    encoded = data.draw(encoded_songs(vocabulary))
    assert Codec(vocabulary).encode(Codec(vocabulary).decode(encoded)) == encoded


@given(st.data(), vocabularies)
def test_a_cursor_allows_every_token_and_gives_the_bars_and_steps_of_the_arrays(data, vocabulary):
    encoded = data.draw(encoded_songs(vocabulary))
    cursor = Cursor(vocabulary)
    rows = zip(encoded.tokens.tolist(), encoded.instruments.tolist(), strict=True)
    found = [cursor.push(*row) for row in rows]
    assert found == list(zip(encoded.bars.tolist(), encoded.steps.tolist(), strict=True))


@given(st.integers(0, 2**32), vocabularies, st.integers(0, 60))
def test_any_stream_that_the_cursor_allows_decodes(seed, vocabulary, length):
    random, cursor = np.random.default_rng(seed), Cursor(vocabulary)
    tokens, classes = list[int](), list[int]()
    while not tokens or tokens[-1] != vocabulary.eos:
        choices = np.flatnonzero(cursor.allowed())
        if len(tokens) > length and vocabulary.eos in choices:
            choices = [vocabulary.eos]
        tokens.append(int(random.choice(choices)))
        if vocabulary.kind(tokens[-1]) != Kind.DURATION:
            classes.append(int(random.integers(2)))
        else:
            classes.append(classes[-1])
        cursor.push(tokens[-1], classes[-1])
    tokens, classes = np.array(tokens, np.uint16), np.array(classes, np.uint8)
    zeros = np.zeros(len(tokens), np.uint8)
    song = Codec(vocabulary).decode(EncodedSong(tokens, classes, zeros, zeros, zeros))
    assert 1 <= len(song.notes) <= vocabulary.is_note(tokens).sum()
    assert Codec(vocabulary).decode(Codec(vocabulary).encode(song)) == song


def test_a_meter_change_inside_a_bar_starts_a_new_bar():
    song = make_song(
        [(0, 1, 0, 60, 66), (60, 1, 0, 60, 66), (133, 1, 0, 60, 66)],
        meters=[(0, 4, 4), (60, 3, 4)],
    )
    encoded = Codec(Vocabulary()).encode(song)
    onsets = encoded.instruments == 0
    assert encoded.bars[onsets].tolist() == [0, 0, 1, 1, 2, 2]
    assert encoded.steps[onsets].tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("tokens", "complaint"),
    [
        ("n60 d1 <eos>", "open with <sos>"),
        ("<sos> n60 d1", "end with <eos>"),
        ("<sos> n60 n61 d1 <eos>", "token 2 is n61 after n60"),
        ("<sos> d1 <eos>", "token 1 is d1 after <sos>"),
        ("<sos> n60 <eos>", "token 2 is <eos> after n60"),
        ("<sos> k36 d1 <eos>", "token 2 is d1 after k36"),
        ("<sos> r3 d1 <eos>", "token 2 is d1 after r3"),
        ("<sos> n60 d1 <pad> <eos>", "token 3 is <pad> after d1"),
        ("<sos> n60 d1 <eos> <eos>", "token 3 is <eos> after d1"),
        ("<sos> <unused0> <eos>", "token 1 is <unused0> after <sos>"),
    ],
)
def test_the_first_token_that_breaks_the_grammar_is_named(tokens, complaint):
    vocabulary = Vocabulary(CodecSettings(percussion="gm"))  # it has unused tokens
    ids = np.array([vocabulary.ids[name] for name in tokens.split()], np.uint16)
    zeros = np.zeros(len(ids), np.uint8)
    with pytest.raises(ValueError, match=complaint):
        Codec(vocabulary).decode(EncodedSong(ids, zeros, zeros, zeros, zeros))


@pytest.mark.parametrize(
    ("song", "complaint"),
    [
        (make_song([]), "without notes"),
        (make_song([(0, 769, 0, 60, 66)]), "outside 1 to 768"),
        (make_song([(0, 0, 0, 60, 66)]), "outside 1 to 768"),
        (make_song([(0, 97, 0, 60, 66)]), "no note of 97 steps"),
        (make_song([(0, 5, 128, 27, 66)]), "no drum of 5 steps"),
        (make_song([(0, 6, 128, 28, 66)]), "key 28 is not of drum 128"),
        (make_song([(0, 1, 189, 60, 66)]), "instrument 189"),
        (make_song([(0, 1, 0, 60, 66)], steps_per_beat=12), "12 steps per beat"),
        (make_song([(2**24, 1, 0, 60, 66)]), "bars"),
        (make_song([(0, 1, 0, 60, 66)], controls=[(0, 0, 0, 25)]), "no token for 25"),
        (make_song([(0, 6, 128, 27, 66)], controls=[(0, 128, 0, 25)]), "a drum has neither"),
    ],
)
def test_a_song_off_the_grid_is_refused(song, complaint):
    with pytest.raises(ValueError, match=complaint):
        Codec(Vocabulary()).encode(song)
