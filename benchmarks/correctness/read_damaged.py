"""How many notes of damaged files lakhxl, symusic, mido and pretty_midi recover."""

import io
import warnings
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from benchmarks.arguments import Measurement, corpus_argument
from pipeline.midi import UnreadableMidi, read_midi, warm_up

ENOUGH = 0.9
"""A file counts as recovered with this share of its recoverable notes."""

KINDS = {
    "gzip_wrapper": "gzip archive",
    "riff_wrapper": "RIFF wrapper",
    "truncated_track": "truncated",
    "lost_sync": "damage inside a track",
    "track_length": "track length",
    "data_byte": "data byte over 127",
    "bad_key_signature": "bad key signature",
}
"""What a repair says about a file; the first that was made counts."""

Counts = dict[str, int | None]


def count_symusic(data: bytes) -> int:
    import symusic

    return symusic.Score.from_midi(data).note_num()


def count_mido(data: bytes, clip: bool = False) -> int:
    import mido

    file = mido.MidiFile(file=io.BytesIO(data), clip=clip)
    messages = (message for track in file.tracks for message in track)
    return sum(message.type == "note_on" and message.velocity > 0 for message in messages)


def count_pretty_midi(data: bytes) -> int:
    import pretty_midi

    score = pretty_midi.PrettyMIDI(io.BytesIO(data))
    return sum(len(instrument.notes) for instrument in score.instruments)


READERS: dict[str, Callable[[bytes], int]] = {
    "lakhxl": lambda data: len(read_midi(data).notes),
    "mido": count_mido,
    "mido (clip)": partial(count_mido, clip=True),
    "symusic": count_symusic,
    "pretty_midi": count_pretty_midi,
}


def notes_or_none(name: str, data: bytes) -> int | None:
    """The number of notes that a reader returns, or None where it refuses the file."""
    try:
        return READERS[name](data)
    except ModuleNotFoundError:
        raise
    except Exception:  # noqa: BLE001 - peers raise what they like
        return None


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kind_of(data: bytes) -> str:
    """What is wrong with a song, by what the reader repaired."""
    try:
        repairs = read_midi(data).repairs
    except UnreadableMidi as error:
        return f"songs: unreadable ({error.code})"
    return "songs: " + next((kind for code, kind in KINDS.items() if code in repairs), "other")


def recoverable_notes(counts: Counts, data: bytes) -> float:
    """The most notes that any reader finds, and at least what ours would find without the damage.

    Where ours skipped damaged bytes, its notes are scaled up by the share of the bytes it skipped.
    """
    try:
        lost = read_midi(data).repairs.get("lost_byte", 0) / len(data)
    except UnreadableMidi:
        lost = 0.0
    scaled = (counts["lakhxl"] or 0) / max(1 - lost, 0.01)
    return max(scaled, *(count or 0 for count in counts.values()))


def table_row(kind: str, files: list[tuple[Counts, float]]) -> str:
    """How many files there are, how many hold notes, and how many of these each reader recovers."""
    some = [(counts, notes) for counts, notes in files if notes]
    good = [sum((counts[name] or 0) >= ENOUGH * n for counts, n in some) for name in READERS]
    return f"| {kind} | {len(files)} | {len(some)} | " + " | ".join(map(str, good)) + " |"


@click.command(cls=Measurement)
@corpus_argument
def command(corpus: Path) -> None:
    """Print the table of docs/reader.md for CORPUS, which holds the folders songs and damaged.

    Of songs, the files that symusic or mido refuse; of damaged, all.
    """
    warnings.simplefilter("ignore")
    warm_up()
    rows = defaultdict(list)

    def add(kind: str, data: bytes) -> None:
        counts = {name: notes_or_none(name, data) for name in READERS}
        rows[kind].append((counts, recoverable_notes(counts, data)))

    for path, data in contents(corpus / "damaged").items():
        add(f"damaged: {'valid' if 'Valid' in path.parts else path.parent.name}", data)
    for data in contents(corpus / "songs").values():
        if None in (notes_or_none("symusic", data), notes_or_none("mido", data)):
            add(kind_of(data), data)
    print("| kind | files | with notes | " + " | ".join(READERS) + " |")
    print("|---|---:|---:|" + "---:|" * len(READERS))
    for kind, files in sorted(rows.items()):
        print(table_row(kind, files))
    all_files = [pair for files in rows.values() for pair in files]
    print(table_row("all", all_files))
    refused = [pair for pair in all_files if None in (pair[0]["mido"], pair[0]["symusic"])]
    print(table_row("all that mido or symusic refuse", refused))
