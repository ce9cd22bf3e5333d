"""A song beside what its tokens kept of it: two piano rolls, and the largest distance in steps.

Above, the file as it was played, on a grid eight times as fine; below, the .mid that
`pipeline render` writes from the dataset, read back like any other file.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.clean.quantize import quantize
from pipeline.midi import Recording, read_midi
from pipeline.show import find_song
from shards import open_dataset
from shards.bars import Bars
from shards.render.midi import write_midi
from shards.render.pianoroll import png
from shards.song import Song
from shards.vocabulary import CodecSettings, Vocabulary

FINE = Vocabulary(CodecSettings(steps_per_beat=96))


def first_bars(song: Song, bars: int) -> Song:
    """The notes that start in a song's first bars, none of them held beyond."""
    lines = Bars(song.meters, FINE.bar_steps)
    notes = song.notes[lines.positions(song.notes["start"])[0] < bars]
    left = lines.line(np.array([bars])) - notes["start"]
    notes["duration"] = np.minimum(notes["duration"], left)
    return replace(song, notes=notes)


def places(recording: Recording) -> dict[tuple[int, int], np.ndarray]:
    """Onsets in beats by sound and pitch; drums are sound 128."""
    notes = recording.notes
    sound = np.where(notes["is_drum"], 128, notes["program"])
    beats = notes["start"] / recording.ticks_per_beat
    return {
        (int(s), int(p)): np.sort(beats[(sound == s) & (notes["pitch"] == p)])
        for s, p in {*zip(sound.tolist(), notes["pitch"].tolist(), strict=True)}
    }


def furthest(a: Recording, b: Recording) -> float:
    """The largest distance, in beats, of an onset of `a` from the nearest of its sound in `b`."""
    known, most = places(b), 0.0
    for key, beats in places(a).items():
        if key not in known:
            return float("inf")
        most = max(most, float(np.abs(beats[:, None] - known[key]).min(axis=1).max()))
    return most


def main() -> None:
    import matplotlib.image

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="the folder that the dataset was made from")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("song")
    parser.add_argument("image", type=Path)
    parser.add_argument("--bars", type=int, default=8)
    given = parser.parse_args()
    dataset = open_dataset(given.dataset)
    number = find_song(dataset, given.song)
    path = dataset.index["path"][number].as_py()
    played = read_midi((given.source / path).read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        rendered = Path(folder) / "song.mid"
        write_midi(dataset.codec.decode(dataset.song(number)), rendered, dataset.vocabulary)
        kept = read_midi(rendered.read_bytes())

    pictures = []
    for recording, what in ((played, "the file"), (kept, "what its tokens kept")):
        song = first_bars(quantize(recording, FINE).song, given.bars)
        picture = Path(given.image).with_suffix(".part.png")
        picture.write_bytes(png(song, FINE, title=f"{path}: {what}"))
        pictures.append(matplotlib.image.imread(picture))
        picture.unlink()
    wide = min(picture.shape[1] for picture in pictures)
    matplotlib.image.imsave(given.image, np.vstack([picture[:, :wide] for picture in pictures]))
    steps = dataset.vocabulary.settings.steps_per_beat
    print(f"{given.image}: {len(played.notes)} notes in the file, {len(kept.notes)} kept")
    print(f"furthest from its onset in the file: {steps * furthest(kept, played):.3f} steps")
    print(f"furthest from its onset as kept: {steps * furthest(played, kept):.3f} steps")


if __name__ == "__main__":
    main()
