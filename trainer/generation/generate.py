"""Write songs with a trained model, one token at a time, several songs at once."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from shards.codec import EncodedSong
from shards.vocabulary import Vocabulary
from trainer.generation.fast_weights import for_sampling
from trainer.generation.guided import GuidedModel
from trainer.generation.incremental import IncrementalModel
from trainer.generation.prompt import Prompt
from trainer.generation.sample_step import next_inputs, sample_step
from trainer.generation.settings import SampleConfig
from trainer.generation.song_sampler import SongSampler
from trainer.generation.token_sampler import Sampler
from trainer.model.transformer import TransformerXL

MIN_OVERLAPPED = 16
"""Songs from which on sampling takes a GPU's host longer than starting a second group."""


def generate(
    model: TransformerXL,
    vocabulary: Vocabulary,
    config: SampleConfig,
    *,
    block_size: int,
    prompt: Prompt | None = None,
    progress: Callable[[float], object] = lambda written: None,
) -> list[EncodedSong]:
    """Write songs.

    Args:
        model: in evaluation mode.
        vocabulary: of the model.
        config: how to sample, how long, how many songs.
        block_size: T of the training.
        prompt: how every song begins.
        progress: called after each step with how much of all songs is written, in the goal's unit.

    Returns:
        `config.count` songs, each beginning with the prompt and with at least one note after it.
    """
    samplers = song_samplers(model, vocabulary, config, prompt)
    for written in write_songs(samplers, model, config, block_size=block_size):
        progress(written)
    return [sampler.finish() for sampler in samplers]


def song_samplers(
    model: TransformerXL, vocabulary: Vocabulary, config: SampleConfig, prompt: Prompt | None
) -> list[SongSampler]:
    """The samplers of `generate`."""
    return [
        SongSampler(vocabulary, config, number, prompt, has_conditions=model.config.conditions)
        for number in range(config.count)
    ]


def write_songs(
    samplers: Sequence[Sampler], model: TransformerXL, config: SampleConfig, *, block_size: int
) -> Iterator[float]:
    """Let samplers sample until all are done.

    Between two steps the samplers' finished bars may be looked at; who iterates no further has
    stopped the writing.

    Args:
        samplers: new ones.
        model, config, block_size: as for `generate`.

    Yields:
        After each step of at most one token a song: how much of all songs is written.
    """
    model = for_sampling(model, config.weights)
    is_guided = model.config.conditions and config.guidance != 1
    groups = []
    for part in np.array_split(np.arange(len(samplers)), _groups(model, len(samplers))):
        lanes = len(part)
        incremental = (
            GuidedModel(model, block_size, lanes, config.guidance)
            if is_guided
            else IncrementalModel(model, block_size, lanes)
        )
        groups.append(([samplers[n] for n in part], incremental))
    for group in groups:
        _feed(*group)
    while open_ := [group for group in groups if not all(each.done for each in group[0])]:
        for group in open_:
            sample_step(*group)
            _feed(*group)
        yield sum(sampler.progress for sampler in samplers)


def _groups(model: TransformerXL, songs: int) -> int:
    """In how many groups songs are written: the GPU computes for one while the other is sampled."""
    return 2 if model.norm.weight.is_cuda and songs >= MIN_OVERLAPPED else 1


def _feed(samplers: Sequence[Sampler], model: IncrementalModel | GuidedModel) -> None:
    """Feed what all songs that are not done can be fed, if there is one."""
    if active := [sampler for sampler in samplers if not sampler.done]:
        model.feed(next_inputs(samplers, min(sampler.pending for sampler in active)))
