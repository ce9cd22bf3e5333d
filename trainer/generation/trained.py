"""A trained model in Python: load a folder, write songs, save them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shards.codec import Codec
from shards.render.song_file import check_song_files, write_song
from shards.song import Song
from trainer.device import choose_device
from trainer.generation.generate import generate
from trainer.generation.prompt import Prompt, encode_midi
from trainer.generation.settings import SampleConfig
from trainer.model.transformer import TransformerXL
from trainer.run.folder import Run, load_model, open_run


@dataclass(frozen=True)
class TrainedModel:
    """A model and what its tokens mean.

    Attributes:
        run: settings and vocabulary.
        network: in evaluation mode.
    """

    run: Run
    network: TransformerXL

    def __repr__(self) -> str:
        return f"<TrainedModel of {self.run}>"

    def generate(
        self, prompt: Path | str | None = None, prompt_bars: int | None = None, **settings: Any
    ) -> list[Song]:
        """Write songs.

        Args:
            prompt: a MIDI file to continue.
            prompt_bars: only its first bars.
            settings: those of `trainer generate`: bars=16, seed=1, count=4, temperature=0.9 …

        Raises:
            LakhxlError: the prompt cannot be read, or a setting is not as expected.
        """
        config, vocabulary = SampleConfig(**settings), self.run.vocabulary
        codec = Codec(vocabulary)
        given = None
        if prompt is not None:
            encoded = encode_midi(Path(prompt), vocabulary, self.run.dataset_settings)
            given = Prompt.from_song(encoded, codec, prompt_bars)
        songs = generate(
            self.network,
            vocabulary,
            config,
            block_size=self.run.config.train.block_size,
            prompt=given,
        )
        return [codec.decode(song) for song in songs]

    def save(self, song: Song, path: Path | str, *, overwrite: bool = False) -> None:
        """Write a song as .mid, .png (a piano roll) or .wav; see `trainer generate`."""
        path = Path(path)
        check_song_files([path], soundfont=None, overwrite=overwrite)
        write_song(song, path, self.run.vocabulary, title=path.stem, soundfont=None)


def load(path: Path | str, device: str | torch.device = "cpu") -> TrainedModel:
    """Load a run folder, or what `trainer export` made of one.

    Raises:
        LakhxlError: it is not a run folder, is damaged, or holds no checkpoint.
    """
    run = open_run(path)
    return TrainedModel(run, load_model(run, choose_device(str(device))))
