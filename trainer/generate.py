"""Write a song with a trained model, one token at a time.

The memory is used as in training: a block's tokens see what the blocks before it left, and when
the block is full, what is left is cut back to M tokens. The predictions are therefore those that
a whole block at once would have given. A grammar (`shards.grammar`) says what may follow, so
that whatever is written is a well-formed song.

Conventions
    V tokens in the vocabulary, I instrument classes; one lane
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shards import settings
from shards.codec import EncodedSong
from shards.errors import SettingError
from shards.grammar import Cursor
from shards.settings import setting
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, VELOCITY_BINS, Kind, Vocabulary
from trainer.batches import Batch
from trainer.memory import Memory, remember
from trainer.model import Output, TransformerXL

USUAL_VELOCITY = 20
"""Velocity bin of new notes, MIDI 82, where no head predicts it: about the mean of Lakh."""


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How the next token is drawn, and how long the song may be."""

    bars: int = setting(
        32, "Bars to write, after those of the prompt; the song does not end before.", low=1
    )
    tokens: int = setting(8192, "Tokens to write at most, bars or not.", low=8)
    temperature: float = setting(
        1.0, "Below 1 keeps to the likely, above 1 strays; 0 always takes the likeliest.", low=0
    )
    top_p: float = setting(
        0.95,
        "Draw from the likeliest that together have this probability; 1 draws from all.",
        low=0,
    )
    seed: int = setting(0, "Another seed, another song.", low=0)

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        settings.check(self)
        for name, most in (("top_p", 1), ("temperature", 100), ("bars", 10_000)):
            if not getattr(self, name) <= most:
                raise SettingError(f"{name} is {getattr(self, name)}; expected at most {most}")


class Stream:
    """Feeds one song to a model a few tokens at a time, as training would have cut it.

    Args:
        model: in evaluation mode.
        block_size: T of the training.
    """

    def __init__(self, model: TransformerXL, block_size: int) -> None:
        self.model, self.block_size = model, block_size
        self._past = model.empty_memory(1, length=0)
        self._in_block = 0

    @torch.inference_mode()
    def feed(self, inputs: np.ndarray) -> Output:
        """Feed the song's next tokens.

        Args:
            inputs: shape (5, tokens), integer: tokens, instruments (the number of classes for
                none), bars, steps, velocities (the number of bins for none). At least one token.

        Returns:
            The predictions after each of them, shapes (1, tokens, …).
        """
        outputs = []
        while inputs.shape[1]:
            room = self.block_size - self._in_block
            outputs.append(self._feed_block(inputs[:, :room]))
            inputs = inputs[:, room:]
        parts = zip(*outputs, strict=True)
        return Output(*(None if part[0] is None else torch.cat(part, dim=1) for part in parts))

    def _feed_block(self, inputs: np.ndarray) -> Output:
        columns = torch.from_numpy(inputs.astype(np.int64)).to(self._past.visits.device)
        *others, velocities = columns[:, None]
        batch = Batch(*others, visits=torch.zeros_like(velocities), velocities=velocities)
        output, keys, values = self.model.attend(batch, self._past)
        visits = torch.cat([self._past.visits, batch.visits], dim=1)
        self._past = Memory(keys, values, visits)
        self._in_block += inputs.shape[1]
        if self._in_block == self.block_size:
            length = min(self.model.config.memory, visits.shape[1])
            self._past = remember(keys, values, visits, length)
            self._in_block = 0
        return output


def choose(
    logits: Tensor, allowed: Tensor, config: SampleConfig, generator: torch.Generator
) -> int:
    """Draw one class.

    Args:
        logits: shape (classes,), on the CPU.
        allowed: shape (classes,), bool; at least one.
        config: temperature and top_p.
        generator: on the CPU, so that a seed means the same on every device.

    Source:
        top-p: Holtzman et al. 2020, nucleus sampling. https://arxiv.org/abs/1904.09751
    """
    logits = logits.float().masked_fill(~allowed, -torch.inf)
    if config.temperature == 0:
        return int(logits.argmax())
    chances, classes = (logits / config.temperature).softmax(dim=-1).sort(descending=True)
    before = chances.cumsum(dim=-1) - chances  # probability of all likelier classes
    chances[1:][before[1:] >= config.top_p] = 0
    return int(classes[torch.multinomial(chances, 1, generator=generator)])


class Writer:
    """One song in the making: its arrays so far, and where it stands in time."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.cursor = Cursor(vocabulary)
        self.rows: list[tuple[int, int, int, int, int]] = []
        self._end_of_last_note = 0

    def add(self, token: int, instrument: int, velocity: int) -> None:
        """Add a token; instrument and velocity as in the arrays of an `EncodedSong`."""
        bar, step = self.cursor.push(token)
        self.rows.append((token, instrument, velocity, bar, step))
        if instrument != NO_INSTRUMENT and self.vocabulary.kind(token) == Kind.DURATION:
            self._end_of_last_note = len(self.rows)

    def is_pitch(self, token: int) -> bool:
        """Whether a token is a pitch."""
        return bool(self.vocabulary.kind(token) == Kind.PITCH)

    @property
    def has_notes(self) -> bool:
        """Whether there is a whole note."""
        return self._end_of_last_note > 0

    def allowed(self, *, note_now: bool) -> np.ndarray:
        """What may come next, shape (V,), bool; if a note is due, only a pitch where one may.

        Never the end: how long the song is to be has been asked for.
        """
        allowed = self.cursor.allowed().copy()
        allowed[self.vocabulary.eos] = False
        pitches = self.vocabulary.kind(np.arange(len(allowed))) == Kind.PITCH
        return allowed & pitches if note_now and (allowed & pitches).any() else allowed

    def inputs(self, first: int = 0) -> np.ndarray:
        """Tokens from `first` on as a model's inputs, shape (5, tokens); see `Stream.feed`."""
        tokens, instruments, velocities, bars, steps = np.array(self.rows[first:], np.int64).T
        none = instruments == NO_INSTRUMENT
        classes = np.where(none, self.vocabulary.instruments, instruments)
        bins = np.where(velocities == NO_VELOCITY, VELOCITY_BINS, velocities)
        return np.stack([tokens, classes, bars, steps, bins])

    def finish(self) -> EncodedSong:
        """The song up to its last whole note, ended."""
        rows = self.rows[: self._end_of_last_note]
        *_, bar, step = rows[-1]
        rows = [*rows, (self.vocabulary.eos, NO_INSTRUMENT, NO_VELOCITY, bar, step)]
        tokens, instruments, velocities, bars, steps = np.array(rows, np.int64).T
        return EncodedSong(
            tokens.astype(np.uint16),
            instruments.astype(np.uint8),
            velocities.astype(np.uint8),
            bars.astype(np.uint16),
            steps.astype(self.vocabulary.step_dtype),
        )


def generate(
    model: TransformerXL,
    vocabulary: Vocabulary,
    config: SampleConfig,
    *,
    block_size: int,
    prompt: EncodedSong | None = None,
    progress: Callable[[int], None] = lambda bars: None,
) -> EncodedSong:
    """Write a song.

    Args:
        model: in evaluation mode.
        vocabulary: of the model.
        config: how to draw, and how long.
        block_size: T of the training.
        prompt: a song to go on from where it ends.
        progress: told after each token how many bars are full.

    Returns:
        The song, the prompt's part included, with at least one note whatever the limits.
    """
    writer, stream = Writer(vocabulary), Stream(model, block_size)
    generator = torch.Generator().manual_seed(config.seed)
    _open(writer, prompt)
    opened, first_bar = len(writer.rows), writer.cursor.bar + 1 if prompt else 0
    output = stream.feed(writer.inputs())
    over = False
    while True:
        allowed = writer.allowed(note_now=over)
        _add_next(writer, model, output, allowed, config, generator)
        bars = writer.cursor.bar - first_bar
        progress(min(max(bars, 0), config.bars))
        over = bars >= config.bars or len(writer.rows) - opened >= config.tokens
        if over and writer.has_notes:
            return writer.finish()
        output = stream.feed(writer.inputs(-1))


def _open(writer: Writer, prompt: EncodedSong | None) -> None:
    """Begin with <sos>, or with all of the prompt but its <eos>."""
    if prompt is None:
        writer.add(writer.vocabulary.sos, NO_INSTRUMENT, NO_VELOCITY)
        return
    columns = prompt.tokens[:-1], prompt.instruments[:-1], prompt.velocities[:-1]
    for row in zip(*(column.tolist() for column in columns), strict=True):
        writer.add(*row)


@torch.inference_mode()
def _add_next(
    writer: Writer,
    model: TransformerXL,
    output: Output,
    allowed: np.ndarray,
    config: SampleConfig,
    generator: torch.Generator,
) -> None:
    """Draw the next token, and for a pitch its instrument, which its duration shares, and bin."""
    vocabulary = writer.vocabulary
    token = choose(output.tokens[0, -1].cpu(), torch.from_numpy(allowed), config, generator)
    if writer.is_pitch(token):
        fitting = torch.from_numpy(vocabulary.instrument_allows(token - vocabulary.pitch0))
        hidden = output.hidden[:, -1:]
        named = torch.full((1, 1), token, device=hidden.device)
        logits = model.instruments(hidden, named)[0, 0].cpu()
        instrument = choose(logits, fitting, config, generator)
        loudness = model.velocities(hidden, named, torch.full_like(named, instrument))
        velocity = USUAL_VELOCITY
        if loudness is not None:
            every = torch.ones(VELOCITY_BINS, dtype=torch.bool)
            velocity = choose(loudness[0, 0].cpu(), every, config, generator)
        writer.add(token, instrument, velocity)
        return
    last_token, last_instrument, *_ = writer.rows[-1]
    instrument = last_instrument if writer.is_pitch(last_token) else NO_INSTRUMENT
    writer.add(token, instrument, NO_VELOCITY)
