"""Sample one token for each of several songs from what the model returned.

For a pitch or a control also the program is sampled; for a pitch or a drum also the velocity, if
the model predicts it. Tokens and instruments that are not allowed get probability 0. If the
instrument head does not depend on the next token, pitch and instrument are sampled from the product
of both distributions, restricted to pairs that are allowed: the probability of a pitch is
multiplied by the probability that a sampled instrument may play it.

Conventions
    V tokens in the vocabulary, P = 128 programs
"""

from collections.abc import Sequence

import numpy as np

from trainer.generation.guided import GuidedModel
from trainer.generation.incremental import IncrementalModel
from trainer.generation.logits import filtered_probs, sample
from trainer.generation.token_sampler import Sampler


def next_inputs(samplers: Sequence[Sampler], count: int) -> np.ndarray:
    """The next inputs of all songs, shape (8, songs, count), int64."""
    if count == 1:
        return np.array([each.take_one() for each in samplers], np.int64).T[:, :, None]
    return np.stack([each.take(count) for each in samplers], axis=1)


def sample_step(samplers: Sequence[Sampler], model: IncrementalModel | GuidedModel) -> None:
    """Sample and append one token for every song that is neither done nor has tokens to feed."""
    active = [n for n, each in enumerate(samplers) if not each.done and not each.pending]
    chosen = [samplers[n] for n in active]
    tokens, instruments, velocities = np.zeros((3, len(samplers)), np.int64)
    logits = model.token_logits()
    tokens[active] = sample_tokens(chosen, logits[active])
    for n, token in zip(active, tokens[active].tolist(), strict=True):
        if samplers[n].part_is_due(token):
            pitch0 = samplers[n].vocabulary.pitch0
            after_pitches = model.instrument_logits_after_pitches(n, pitch0)
            tokens[n] = samplers[n].sample_note_of_part(logits[n], after_pitches)
    written = list(zip(active, tokens[active].tolist(), strict=True))
    wanting = [n for n, token in written if samplers[n].writer.has_instrument(token)]
    if wanting:
        known = model.instrument_logits(tokens)
        with_program = [samplers[n] for n in wanting]
        instruments[wanting] = sample_instruments(with_program, tokens[wanting], known[wanting])
    notes = [n for n, token in written if samplers[n].writer.is_note(token)]
    heard = model.velocity_logits(tokens, instruments) if notes else None
    if heard is not None:
        players = [samplers[n] for n in notes]
        velocities[notes] = _sampled(players, heard[notes], players[0].config.velocity_top_p)
    for n, token, instrument, velocity in zip(
        active, *(each[active].tolist() for each in (tokens, instruments, velocities)), strict=True
    ):
        samplers[n].append(token, instrument, None if heard is None else velocity)


def sample_tokens(samplers: Sequence[Sampler], logits: np.ndarray) -> np.ndarray:
    """Sample the next token of each song.

    Args:
        samplers: of one configuration.
        logits: shape (songs, V).

    Returns:
        shape (songs,).
    """
    pairs = zip(samplers, logits, strict=True)
    allowed = np.stack([each.allowed_tokens() for each in samplers])
    logits = np.where(allowed, [each.merge_logits(row) for each, row in pairs], -np.inf)
    v = samplers[0].vocabulary
    pitches = slice(v.pitch0, v.drum0)
    for n, each in enumerate(samplers):
        if (bias := each.pitch_bias()) is not None:
            logits[n, pitches] += bias
    return _sampled(samplers, logits, samplers[0].config.top_p)


def sample_instruments(
    samplers: Sequence[Sampler], tokens: np.ndarray, logits: np.ndarray
) -> np.ndarray:
    """Sample the program of each song's pitch or control.

    Args:
        samplers: of one configuration.
        tokens: shape (songs,).
        logits: shape (songs, P).

    Returns:
        shape (songs,).
    """
    pairs = zip(samplers, tokens.tolist(), strict=True)
    allowed = np.stack([each.allowed_instruments(token) for each, token in pairs])
    logits = np.where(allowed, logits, -np.inf)
    return _sampled(samplers, logits, samplers[0].config.instrument_top_p)


def _sampled(samplers: Sequence[Sampler], logits: np.ndarray, top_p: float) -> np.ndarray:
    """Sample a class for each song, with its own random number; (songs, classes) -> (songs,)."""
    probs = filtered_probs(logits, samplers[0].config, top_p)
    return sample(probs, np.array([each.random() for each in samplers]))
