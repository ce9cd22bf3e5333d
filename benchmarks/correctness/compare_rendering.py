"""A song's file versus what its tokens keep: two piano rolls, and the largest time difference."""

import tempfile
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from benchmarks.arguments import Measurement, corpus_argument, dataset_argument
from pipeline.browse.song_facts import find_song
from pipeline.clean.quantize import quantize
from pipeline.midi import Recording, read_midi
from shards import open_dataset
from shards.bars import Bars
from shards.render.midi import write_midi
from shards.render.pianoroll import png
from shards.song import Song
from shards.vocabulary import CodecSettings, Vocabulary

FINE = Vocabulary(CodecSettings(steps_per_beat=96))


def first_bars(song: Song, bars: int) -> Song:
    """The notes that start in a song's first bars, cut where those bars end."""
    bar_lines = Bars(song.meters, FINE.bar_steps)
    notes = song.notes[bar_lines.locate(song.notes["start"])[0] < bars]
    left = bar_lines.first_steps(np.array([bars])) - notes["start"]
    notes["duration"] = np.minimum(notes["duration"], left)
    return replace(song, notes=notes)


def onsets(recording: Recording) -> dict[tuple[int, int], np.ndarray]:
    """Onsets in beats by program and pitch; drums are program 128."""
    notes = recording.notes
    program = np.where(notes["is_drum"], 128, notes["program"])
    beats = notes["start"] / recording.ticks_per_beat
    return {
        (i, p): np.sort(beats[(program == i) & (notes["pitch"] == p)])
        for i, p in {*zip(program.tolist(), notes["pitch"].tolist(), strict=True)}
    }


def max_distance(a: Recording, b: Recording) -> float:
    """Distance, in beats, of an onset of `a` to the nearest equal note of `b`; the maximum."""
    others, found = onsets(b), 0.0
    for key, beats in onsets(a).items():
        if key not in others:
            return float("inf")
        found = max(found, float(np.abs(beats[:, None] - others[key]).min(axis=1).max()))
    return found


@click.command(cls=Measurement)
@corpus_argument
@dataset_argument
@click.argument("song")
@click.argument("image", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--bars", default=8, show_default=True, help="Bars to draw.")
def command(corpus: Path, dataset: Path, song: str, image: Path, bars: int) -> None:
    """Draw SONG of DATASET to IMAGE: above from its file in CORPUS, below from its tokens.

    Both are drawn on a grid of 96 steps per beat. The second is what `pipeline render` writes, read
    back like any other file.
    """
    import matplotlib.image

    data = open_dataset(dataset)
    number = find_song(data, song)
    path = data.index["path"][number].as_py()
    played = read_midi((corpus / path).read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        rendered = Path(folder) / "song.mid"
        write_midi(data.codec.decode(data.song(number)), rendered, data.vocabulary)
        kept = read_midi(rendered.read_bytes())
        pictures = []
        for recording, source in ((played, "file"), (kept, "tokens")):
            beginning = first_bars(quantize(recording, FINE).song, bars)
            picture = Path(folder) / f"{source}.png"
            picture.write_bytes(png(beginning, FINE, title=f"{path}: {source}"))
            pictures.append(matplotlib.image.imread(picture))
    width = min(picture.shape[1] for picture in pictures)
    matplotlib.image.imsave(image, np.vstack([picture[:, :width] for picture in pictures]))
    steps = data.vocabulary.settings.steps_per_beat
    print(f"{image}: {len(played.notes)} notes in the file, {len(kept.notes)} kept")
    print(f"kept onsets: at most {steps * max_distance(kept, played):.3f} steps from the file's")
    print(f"the file's onsets: at most {steps * max_distance(played, kept):.3f} steps from a kept")
