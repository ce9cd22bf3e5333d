"""Check that a dataset is whole: every file by its checksum, every song by encoding it again."""

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
    """Yield one sentence per fault of a dataset, naming the file; none if it is whole.

    Args:
        path: as for `open_dataset`.
        expect: called once with the number of songs to check, for a progress bar.
        advance: called with 1 after each song.

    Raises:
        ShardError: there is no dataset, or its manifest cannot be read.
    """
    folder = find_dataset(path)
    faults = list(_file_faults(folder))
    yield from faults
    if faults:
        return  # the checks below would only find the same damage again
    try:
        dataset = Dataset(folder)
        expect(len(dataset))
        yield from _table_faults(dataset)
        yield from _song_faults(dataset, advance)
    except LakhxlError as error:
        yield str(error)


def _file_faults(folder: Path) -> Iterator[str]:
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


def _table_faults(dataset: Dataset) -> Iterator[str]:
    """Compare rows and counts of the index, the ledger and the manifest."""
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


def _song_faults(dataset: Dataset, advance: Callable[[int], object]) -> Iterator[str]:
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
    """What is wrong with one song's arrays, or None. They must equal their song's encoding."""
    try:
        again = codec.encode(codec.decode(encoded))
    except (ValueError, KeyError) as error:
        return str(error)
    if again == encoded:
        return None
    if len(again) != len(encoded):
        return f"{len(encoded)} tokens decode to a song of {len(again)}"
    differs = {name: getattr(again, name) != getattr(encoded, name) for name in ARRAYS}
    name = next(name for name in ARRAYS if differs[name].any())
    return f"{name}[{differs[name].argmax()}] is not what its song encodes to"
