"""A trained model in Python: load a folder, write songs, save them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shards.codec import Codec
from shards.render.song_file import check_song_files, write_song
from shards.song import Song
from trainer.device import choose_device
from trainer.generation.settings import SampleConfig
from trainer.generation.task import Request, Task
from trainer.model.transformer import TransformerXL
from trainer.run.folder import Run, load_model, open_run
from trainer.run.hub import push


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
        self,
        prompt: Path | str | Song | None = None,
        prompt_bars: int | None = None,
        *,
        infill: str | None = None,
        parts: str | None = None,
        accompany: str | None = None,
        **settings: Any,
    ) -> list[Song]:
        """Write songs.

        Args:
            prompt: a MIDI file, or a song that a model wrote, to continue.
            prompt_bars: only its first bars.
            infill: bars of the prompt to write anew instead, as 9-16.
            parts: only these parts of those bars.
            accompany: parts to write to those of the prompt instead, as "bass,drums".
            settings: those of `trainer generate`: bars=16, seed=1, count=4, key="D minor" …

        Raises:
            LakhxlError: the prompt cannot be read, the model was not trained for what is asked, or
                a setting is not as expected.
        """
        codec = Codec(self.run.vocabulary)
        given = codec.encode(prompt) if isinstance(prompt, Song) else prompt
        request = Request(
            prompt=Path(given) if isinstance(given, str) else given,
            prompt_bars=prompt_bars,
            infill=infill,
            parts=parts,
            accompany=accompany,
        )
        task = Task(self.run, SampleConfig(**settings), request)
        return [codec.decode(song) for song in task.write(self.network)]

    def push_to_hub(
        self,
        repo_id: str,
        *,
        dtype: str = "float32",
        license: str = "unknown",
        private: bool = False,
    ) -> None:
        """Export the model to the Hugging Face Hub; see `trainer export`.

        Raises:
            LakhxlError: huggingface_hub is missing, or the Hub refuses it.
        """
        push(self.run, repo_id, dtype=dtype, license=license, private=private)

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
