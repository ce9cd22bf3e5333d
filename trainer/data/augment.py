"""Change a song so that it is another that could be real: transposed, faster, with fewer parts.

Each works on an encoded song and gives an encoded song: what its decoded and changed notes would
encode to. The order of notes, by class and then by pitch, stays as it is.
"""

import numpy as np

from shards.codec import Codec, EncodedSong
from shards.vocabulary import Kind, Vocabulary
from trainer.data.sections import Plan, rearrange

LOWEST_PITCH, HIGHEST_PITCH = 21, 108
"""The range of a piano. Transposition takes no note out of it that was in."""


def transpose(song: EncodedSong, vocabulary: Vocabulary, semitones: int) -> EncodedSong:
    """Move all melodic notes by semitones; drums stay.

    Returns:
        The song as it is where a note would leave the range of a piano, or of MIDI.
    """
    is_pitch = vocabulary.kind(song.tokens) == Kind.PITCH
    pitches = song.tokens[is_pitch].astype(np.int64) - vocabulary.pitch0
    moved = pitches + semitones
    leaves = (moved < LOWEST_PITCH) & (pitches >= LOWEST_PITCH)
    leaves |= (moved > HIGHEST_PITCH) & (pitches <= HIGHEST_PITCH)
    if (leaves | (moved < 0) | (moved > 127)).any():
        return song
    tokens = song.tokens.copy()
    tokens[is_pitch] = moved + vocabulary.pitch0
    return _with_tokens(song, tokens)


def change_tempo(song: EncodedSong, vocabulary: Vocabulary, bins: int) -> EncodedSong:
    """Move all tempos by bins of the vocabulary, 16 per octave.

    Returns:
        The song as it is where a tempo would leave the vocabulary.
    """
    is_tempo = vocabulary.kind(song.tokens) == Kind.TEMPO
    tokens = song.tokens.astype(np.int64)
    tokens[is_tempo] += bins
    if (vocabulary.kind(tokens[is_tempo]) != Kind.TEMPO).any():
        return song
    return _with_tokens(song, tokens.astype(song.tokens.dtype))


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
    last += song.tokens[last] < codec.vocabulary.drum0  # its duration
    song = EncodedSong(*(array[: last + 1] for array in vars(song).values()))
    bars = int(song.bars[-1]) + 1
    all_in_one = np.zeros(bars, np.int64)
    columns = np.zeros(1, np.int64), np.array([bars]), np.zeros(1, np.int64)
    plan = Plan(all_in_one, np.full(bars, -1), dropped, *columns)
    return rearrange(song, plan, codec).song


def _with_tokens(song: EncodedSong, tokens: np.ndarray) -> EncodedSong:
    return EncodedSong(tokens, song.instruments, song.velocities, song.bars, song.steps)
