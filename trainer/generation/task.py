"""What a model is asked to write, from the names that users give to the songs.

A new song, what follows a prompt, or bars or parts of the prompt anew.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError, SettingError
from trainer.generation.asked import asked_conditions, parse_meter
from trainer.generation.generate import song_samplers, write_songs
from trainer.generation.instruments import parse_instruments
from trainer.generation.prompt import Prompt, encode_midi
from trainer.generation.rewrite import (
    accompaniment,
    infilling,
    rewrite_samplers,
    written_bars,
)
from trainer.generation.settings import SampleConfig
from trainer.generation.token_sampler import Sampler
from trainer.model.transformer import TransformerXL
from trainer.run.folder import Run


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to do with a prompt, in the words of `trainer generate`.

    Attributes:
        prompt: a MIDI file; or a song of the same vocabulary.
        prompt_bars: only its first bars; None: all.
        infill: bars of it to write anew, as 9-16.
        parts: only these parts of those bars.
        accompany: parts to write to those of the prompt.
    """

    prompt: Path | EncodedSong | None = None
    prompt_bars: int | None = None
    infill: str | None = None
    parts: str | None = None
    accompany: str | None = None

    @property
    def rewrites(self) -> bool:
        """Whether something of the prompt is to be written anew."""
        return self.infill is not None or self.accompany is not None

    def __post_init__(self) -> None:
        """Refuse what cannot be asked together.

        Raises:
            SettingError: it is.
        """
        for name in ("prompt_bars", "infill", "accompany"):
            if getattr(self, name) is not None and self.prompt is None:
                option = name.replace("_", "-")
                raise SettingError(f"--{option} needs --prompt: name the file to read")
        if self.infill is not None and self.accompany is not None:
            raise SettingError("--infill and --accompany cannot be asked together: do one first")
        if self.parts is not None and self.infill is None:
            raise SettingError("--parts needs --infill: name the bars to write, as 9-16")


class Task:
    """A request to a run's model, checked and read; nothing is written yet.

    Args:
        run: of the model.
        config: how to sample.
        request: what is asked.

    Attributes:
        goal: how much of each song is to be written.
        unit: of the goal: bar or s.

    Raises:
        LakhxlError: the prompt cannot be read; or the run was not trained for what is asked; or a
            name or a number is not as expected.
    """

    def __init__(self, run: Run, config: SampleConfig, request: Request) -> None:
        self._run, self._config = run, config
        self._codec = Codec(run.vocabulary)
        _check_config(run, config)
        self._prompt, self._song, self._plan = None, None, None
        self.goal, self.unit = config.goal
        song = _read(run, request.prompt)
        if song is None:
            return
        self._prompt = Prompt.from_song(song, self._codec, request.prompt_bars)
        if not request.rewrites:
            return
        _check_can_rewrite(run)
        asked = request.accompany or request.parts
        self._config = replace(config, instruments=config.instruments or asked)
        self._song = self._prompt.song
        self._plan = (
            infilling(
                self._song,
                request.infill,
                request.parts,
                run.vocabulary,
                memory=run.config.model.memory,
            )
            if request.infill is not None
            else accompaniment(self._song, request.accompany or "", run.vocabulary)
        )
        self.goal, self.unit = float(written_bars(self._plan)), "bar"

    def write(
        self,
        model: TransformerXL,
        progress: Callable[[float], object] = lambda written: None,
    ) -> list[EncodedSong]:
        """Write the songs.

        Args:
            model: of the run, in evaluation mode.
            progress: called with how much of all songs is written, in `unit`.
        """
        samplers = self.samplers(model)
        for written in self.steps(samplers, model):
            progress(written)
        return [sampler.finish() for sampler in samplers]

    def samplers(self, model: TransformerXL) -> Sequence[Sampler]:
        """One for each song, new, for `steps`."""
        if self._plan is None or self._song is None:
            return song_samplers(model, self._run.vocabulary, self._config, self._prompt)
        return rewrite_samplers(self._codec, self._config, self._song, self._plan)

    def steps(self, samplers: Sequence[Sampler], model: TransformerXL) -> Iterator[float]:
        """Write step by step, see `trainer.generation.generate.write_songs`."""
        block_size = self._run.config.train.block_size
        return write_songs(samplers, model, self._config, block_size=block_size)


def _read(run: Run, prompt: Path | EncodedSong | None) -> EncodedSong | None:
    if prompt is None or isinstance(prompt, EncodedSong):
        return prompt
    return encode_midi(prompt, run.vocabulary, run.dataset_settings)


def _check_config(run: Run, config: SampleConfig) -> None:
    """Refuse typos, and wishes that the model does not hear, before it is loaded."""
    if config.instruments is not None:
        parse_instruments(config.instruments, run.vocabulary)
    if config.meter is not None:
        parse_meter(config.meter, run.vocabulary)
    asked_conditions(config, run.vocabulary, None)
    if run.config.model.conditions:
        return
    if config.notes_per_bar is not None:
        raise SettingError(f"--notes-per-bar: {run.path} was trained without conditions")


def _check_can_rewrite(run: Run) -> None:
    if not run.config.model.conditions or not run.config.train.rearranged:
        raise LakhxlError(
            f"{run.path} was trained without rearranged songs, so it can neither infill nor "
            "accompany: train anew with --set rearranged=0.2"
        )
