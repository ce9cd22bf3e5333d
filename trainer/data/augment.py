"""Change a song so that it is another that could be real: transposed, faster, with fewer parts.

Each works on an encoded song and gives an encoded song: what its decoded and changed notes would
encode to. The order of notes, by class and then by pitch, stays as it is.
"""

import numpy as np

from shards.codec import Codec, EncodedSong
from shards.vocabulary import PITCHES, Kind, Vocabulary
from trainer.data.sections import is_item, write_sections

LOWEST_PITCH, HIGHEST_PITCH = 21, 108
"""The range of a piano."""


def transpose(song: EncodedSong, vocabulary: Vocabulary, semitones: int) -> EncodedSong:
    """Move all melodic notes by semitones; drums stay.

    Returns:
        The song as it is where a note would leave the range of a piano, or go further out of it.
    """
    last = np.uint16(PITCHES - 1)
    pitches = song.tokens - np.uint16(vocabulary.pitch0)  # of other tokens PITCHES and above
    low, high = int(pitches.min()), int(last) - int((last - pitches).min())  # below 0 wraps
    if low + semitones < min(low, LOWEST_PITCH) or high + semitones > max(high, HIGHEST_PITCH):
        return song
    moved = (pitches <= last) * np.uint16(semitones % 2**16)
    return _with_tokens(song, song.tokens + moved)


def change_tempo(song: EncodedSong, vocabulary: Vocabulary, bins: int) -> EncodedSong:
    """Move all tempos by bins of the vocabulary, 16 per octave.

    Returns:
        The song as it is where a tempo would leave the vocabulary.
    """
    count, tempos = len(vocabulary.tempos), song.tokens - np.uint16(vocabulary.tempo0)
    at = np.flatnonzero(tempos < count)
    moved = tempos[at] + np.int64(bins)
    if moved.min(initial=0) < 0 or moved.max(initial=0) >= count:
        return song
    tokens = song.tokens.copy()
    tokens[at] = vocabulary.tempo0 + moved
    return _with_tokens(song, tokens)


def drop_parts(song: EncodedSong, codec: Codec, dropped: np.ndarray) -> EncodedSong:
    """Leave out all notes and controls of some instrument classes.

    Args:
        song: in order.
        codec: of its vocabulary.
        dropped: shape (256,), bool.

    Returns:
        The song as it is where no note would be left.
    """
    is_kept = is_item(song.tokens, codec.vocabulary) & ~dropped.take(song.instruments)
    items = np.flatnonzero(is_kept)
    notes = np.flatnonzero(codec.vocabulary.is_note(song.tokens[items]))
    if not len(notes):
        return song
    last = int(notes[-1])
    kinds = codec.vocabulary.kind(song.tokens[items[last + 1 : last + 2]])
    last += int((kinds == Kind.DURATION).sum())  # none in a damaged song
    one = np.array([last + 1])
    return write_sections(song, items[: last + 1], one, np.zeros(1, np.int64), codec)[0]


def _with_tokens(song: EncodedSong, tokens: np.ndarray) -> EncodedSong:
    return EncodedSong(tokens, song.instruments, song.velocities, song.bars, song.steps)
