"""Are copies found, and how long do 180,000 songs take?

    python -m benchmarks.duplicates CORPUS

Every fourth song is edited as it was read (notes, not bytes) and clustered together with all
originals. For scale, signatures are drawn from the real ones: a third copies, the others with
places of their own, two in a hundred of them from other songs.
"""

import dataclasses
import hashlib
import resource
import sys
import time
from pathlib import Path

import numpy as np

from pipeline.clusters import clusters
from pipeline.duplicates import DuplicateSettings
from pipeline.fingerprint import PLACES, fingerprint
from pipeline.midi import Recording, UnreadableMidi, read_midi

SONGS, FEWEST_NOTES = 180_000, 50
random = np.random.default_rng(0)


def resolution(recording: Recording) -> Recording:
    """The same at another number of ticks a beat."""
    notes, beat = recording.notes.copy(), recording.ticks_per_beat
    new = 96 if beat == 120 else 120
    for name in ("start", "end"):
        notes[name] = (2 * new * notes[name] + beat) // (2 * beat)
    notes = notes[np.argsort(notes["start"], kind="stable")]
    return dataclasses.replace(recording, notes=notes, ticks_per_beat=new)


def moved(recording: Recording, ticks: int) -> Recording:
    """The same, later."""
    notes = recording.notes.copy()
    notes["start"] += ticks
    notes["end"] += ticks
    return dataclasses.replace(recording, notes=notes)


def transposed(recording: Recording) -> Recording:
    """Three semitones up, drums not."""
    notes = recording.notes.copy()
    up = np.minimum(notes["pitch"].astype(np.int64) + 3, 127)
    notes["pitch"] = np.where(notes["is_drum"], notes["pitch"], up)
    return dataclasses.replace(recording, notes=notes)


def only(recording: Recording, keep: np.ndarray) -> Recording:
    """Some of its notes."""
    return dataclasses.replace(recording, notes=recording.notes[keep])


EDITS = {
    "resolution": resolution,
    "four beats later": lambda r: moved(r, 4 * r.ticks_per_beat),
    "off the grid": lambda r: moved(r, r.ticks_per_beat // 5 + 1),
    "transposed": transposed,
    "drums dropped": lambda r: only(r, ~r.notes["is_drum"]),
    "20 % of notes cut": lambda r: only(r, random.random(len(r.notes)) >= 0.2),
    "first quarter missing": lambda r: only(r, 4 * r.notes["start"] >= r.notes["end"].max()),
    "last quarter missing": lambda r: only(r, 4 * r.notes["start"] < 3 * r.notes["end"].max()),
}


def read(corpus: Path) -> list[Recording]:
    """Every readable song of the corpus, identical files once."""
    contents = {}
    for path in sorted(corpus.rglob("*.mid")):
        data = path.read_bytes()
        contents.setdefault(hashlib.md5(data, usedforsecurity=False).digest(), data)
    recordings = []
    for data in contents.values():
        try:
            recordings.append(read_midi(data))
        except UnreadableMidi:
            continue
    return [one for one in recordings if len(one.notes) >= FEWEST_NOTES]


def cluster(signatures: list) -> np.ndarray:
    """Clusters by fingerprint alone."""
    names = [str(number) for number in range(len(signatures))]
    return clusters(names, names, signatures, DuplicateSettings())


def main() -> None:
    """Print recall by edit, the time of a fingerprint, and time and memory at scale."""
    recordings = read(Path(sys.argv[1]))
    marks = [fingerprint(one, "0" * 32).signature for one in recordings]
    began = time.perf_counter()
    marks = [fingerprint(one, "0" * 32).signature for one in recordings]
    each = 1e3 * (time.perf_counter() - began) / len(recordings)
    print(f"{len(recordings)} songs, {each:.2f} ms a fingerprint")
    chosen = [n for n in range(0, len(recordings), 4) if marks[n] is not None]
    for name, edit in EDITS.items():
        edited = [fingerprint(edit(recordings[n]), "0" * 32).signature for n in chosen]
        found = cluster(marks + edited)
        known = [found[n] == found[len(marks) + k] for k, n in enumerate(chosen)]
        print(f"{name:<24}{100 * np.mean(known):.1f} % of {len(chosen)} found")
    real = np.stack([mark for mark in marks if mark is not None])
    many = real[random.integers(0, len(real), SONGS)]
    own = np.flatnonzero(random.random(SONGS) < 0.67)
    for place in range(PLACES):
        drawn = random.integers(0, 1 << 16, len(own))
        borrowed = real[random.integers(0, len(real), len(own)), place]
        many[own, place] = np.where(random.random(len(own)) < 0.02, borrowed, drawn)
    began = time.perf_counter()
    found = cluster(list(many))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{SONGS} songs, {found.max() + 1} clusters: {seconds:.1f} s, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
