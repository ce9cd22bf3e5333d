"""Change a song so that it is another that could be real: transposed, faster, with fewer parts.

Each works on an encoded song and gives an encoded song: what its decoded and changed notes would
encode to. The order of notes, by class and then by pitch, stays as it is.
"""

import numpy as np

from shards.codec import Codec, EncodedSong
from shards.vocabulary import PITCHES, Kind, Vocabulary
from trainer.data.sections import Plan, rearrange

LOWEST_PITCH, HIGHEST_PITCH = 21, 108
"""The range of a piano. Transposition takes no note out of it that was in."""


def transpose(song: EncodedSong, vocabulary: Vocabulary, semitones: int) -> EncodedSong:
    """Move all melodic notes by semitones; drums stay.

    Returns:
        The song as it is where a note would leave the range of a piano, or of MIDI.
    """
    pitches = np.arange(PITCHES)
    moved = pitches + semitones
    leaves = (moved < LOWEST_PITCH) & (pitches >= LOWEST_PITCH)
    leaves |= (moved > HIGHEST_PITCH) & (pitches <= HIGHEST_PITCH)
    leaves |= (moved < 0) | (moved >= PITCHES)
    return _with_ids(song, vocabulary, vocabulary.pitch0, np.where(leaves, -1, moved))


def change_tempo(song: EncodedSong, vocabulary: Vocabulary, bins: int) -> EncodedSong:
    """Move all tempos by bins of the vocabulary, 16 per octave.

    Returns:
        The song as it is where a tempo would leave the vocabulary.
    """
    count = len(vocabulary.tempos)
    moved = np.arange(count) + bins
    moved[(moved < 0) | (moved >= count)] = -1
    return _with_ids(song, vocabulary, vocabulary.tempo0, moved)


def drop_parts(song: EncodedSong, codec: Codec, dropped: np.ndarray) -> EncodedSong:
    """Leave out all notes and controls of some instrument classes.

    Args:
        song: in order.
        codec: of its vocabulary.
        dropped: shape (256,), bool.

    Returns:
        The song as it is where no note would be left.
    """
    kept = codec.vocabulary.is_note(song.tokens) & ~dropped[song.instruments]
    if not kept.any():
        return song
    last = int(np.flatnonzero(kept)[-1])
    after = codec.vocabulary.kind(song.tokens[last + 1 : last + 2])  # none in a damaged song
    last += int((after == Kind.DURATION).sum())
    song = EncodedSong(*(array[: last + 1] for array in vars(song).values()))
    bars = int(song.bars[-1]) + 1
    all_in_one = np.zeros(bars, np.int64)
    columns = np.zeros(1, np.int64), np.array([bars]), np.zeros(1, np.int64)
    plan = Plan(all_in_one, np.full(bars, -1), dropped, *columns)
    return rearrange(song, plan, codec).song


def _with_ids(
    song: EncodedSong, vocabulary: Vocabulary, first: int, moved: np.ndarray
) -> EncodedSong:
    """Replace the ids from `first` on by first + moved; -1: the song as it is if it has one."""
    ids = np.arange(vocabulary.unused0, dtype=np.uint16)
    refused = vocabulary.unused0  # no song's
    ids[first : first + len(moved)] = np.where(moved < 0, refused, first + moved)
    tokens = ids.take(song.tokens)
    if (tokens == refused).any():
        return song
    return EncodedSong(tokens, song.instruments, song.velocities, song.bars, song.steps)
