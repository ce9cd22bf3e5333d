"""Is this dataset whole? Every file against its checksum, every song against the grammar."""

from collections.abc import Callable, Iterator
from pathlib import Path

from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError
from shards.layout import ARRAYS, INDEX, LEDGER, MANIFEST, OUTCOMES, SPLITS
from shards.reader import Dataset, find_dataset, read_manifest
from shards.vocabulary import Kind
from shards.writer import checksum, json_text, manifest_checksum


def verify(
    path: Path | str,
    expect: Callable[[int], object] = lambda songs: None,
    advance: Callable[[int], object] = lambda songs: None,
) -> Iterator[str]:
    """Yield what is wrong with a dataset, a sentence each naming the file; nothing: it is whole.

    Args:
        path: as for `open_dataset`.
        expect: called once with the number of songs to look at, for a progress bar.
        advance: called with 1 after each song.

    Raises:
        ShardError: there is no dataset to look at, or its manifest cannot be read.
    """
    folder = find_dataset(path)
    wrong = list(_wrong_files(folder))
    yield from wrong
    if wrong:
        return  # what follows would only find the same damage again
    try:
        dataset = Dataset(folder)
        expect(len(dataset))
        yield from _wrong_tables(dataset)
        yield from _wrong_songs(dataset, advance)
    except LakhxlError as error:
        yield str(error)


def _wrong_files(folder: Path) -> Iterator[str]:
    manifest = read_manifest(folder)
    own = manifest.get("checksum") == manifest_checksum(manifest)
    if not own or (folder / MANIFEST).read_bytes() != json_text(manifest).encode():
        yield f"{folder / MANIFEST} does not have the checksum that it states"
        return
    files = manifest["files"]
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            yield f"{path} is missing"
        elif (found := checksum(path)) != expected:
            yield f"{path} has sha256 {found[:12]}…, {MANIFEST} expects {expected[:12]}…"
    for path in sorted(folder.iterdir()):
        if path.name not in files and path.name != MANIFEST:
            yield f"{path} is not a file of the dataset"


def _wrong_tables(dataset: Dataset) -> Iterator[str]:
    """Rows and counts of the index, the ledger and the manifest against each other."""
    index, ledger, counts = dataset.index, dataset.ledger(), dataset.manifest["counts"]
    songs = ledger["song"].drop_null().to_pylist()
    if songs != list(range(len(dataset))):
        yield f"{LEDGER} names {len(songs)} songs, {INDEX} has {len(dataset)}, in another order"
    for name, found in (("files", ledger.num_rows), ("songs", len(dataset))):
        if counts[name] != found:
            yield f"{MANIFEST} counts {counts[name]} {name}, the tables hold {found}"
    for column, table, known in (("split", index, SPLITS), ("outcome", ledger, tuple(OUTCOMES))):
        unknown = set(table[column].to_pylist()) - set(known)
        if unknown:
            yield f"column {column} holds {sorted(unknown)}, expected {', '.join(known)}"


def _wrong_songs(dataset: Dataset, advance: Callable[[int], object]) -> Iterator[str]:
    tokens = dataset.index["tokens"].to_numpy()
    notes = dataset.index["notes"].to_numpy()
    for number in range(len(dataset)):
        encoded = dataset.song(number)
        fault = song_fault(encoded, dataset.codec)
        pitches = dataset.vocabulary.kind(encoded.tokens) == Kind.PITCH
        if fault is None and len(encoded) != tokens[number]:
            fault = f"{len(encoded)} tokens, {INDEX} says {tokens[number]}"
        if fault is None and pitches.sum() != notes[number]:
            fault = f"{pitches.sum()} notes, {INDEX} says {notes[number]}"
        if fault is not None:
            yield f"{dataset.path}: song {number}: {fault}"
        advance(1)


def song_fault(encoded: EncodedSong, codec: Codec) -> str | None:
    """What is wrong with one song's arrays, or None: they must be what their song encodes to."""
    try:
        again = codec.encode(codec.decode(encoded))
    except (ValueError, KeyError) as error:
        return str(error)
    if again == encoded:
        return None
    if len(again) != len(encoded):
        return f"{len(encoded)} tokens decode to a song of {len(again)}"
    differ = {name: getattr(again, name) != getattr(encoded, name) for name in ARRAYS}
    name = next(name for name in ARRAYS if differ[name].any())
    return f"{name}[{differ[name].argmax()}] is not what its song encodes to"
