"""The notes of files that were not kept, read anew from the sources, which no dataset holds."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pipeline.config import DataSettings
from pipeline.midi import UnreadableMidi, read_midi
from pipeline.process_file import FileProcessor
from pipeline.sources.listing import SourceFile, list_files, read_source
from pipeline.sources.members import Refused
from shards import Dataset
from shards.errors import LakhxlError
from shards.layout import MANIFEST
from shards.settings import from_json
from shards.song import Song
from shards.text import visible


class Originals:
    """The files that a dataset was made of.

    Args:
        dataset: whose settings they are read with.
        sources: as they were given to `pipeline run`, since names follow from all of them.
    """

    def __init__(self, dataset: Dataset, sources: Sequence[Path]) -> None:
        where = str(dataset.path / MANIFEST)
        self._settings = from_json(DataSettings, dataset.manifest["settings"], where=where)
        self._dataset, self._sources = dataset, sources

    @cached_property
    def _files(self) -> Mapping[str, SourceFile]:
        """The files that can be read one by one, by their name in the ledger."""
        ingest = self._settings.ingest
        listing = list_files(self._sources, ingest.max_file_size, follow_links=ingest.follow_links)
        slices = (one for one in listing.cut(1024) if not one.streamed)
        return {file.name: file for one in slices for file in one.files()}

    def song(self, row: int) -> Song:
        """The cleaned song of a file that a rule rejected.

        Args:
            row: of the ledger.

        Raises:
            LakhxlError: the file could not be read then, is not found now, or has no notes.
        """
        (entry,) = self._dataset.ledger().slice(row, 1).to_pylist()
        name, outcome = entry["path"], entry["outcome"]
        if outcome not in ("kept", "rejected"):
            raise LakhxlError(f"{outcome}: there are no notes to show")
        if not self._sources:
            raise LakhxlError(
                "a dataset does not hold the notes of files that were not kept: start "
                "`pipeline browse` with --source, the folder or archive that the run read"
            )
        file = self._files.get(name)
        if file is None:
            raise LakhxlError(
                f"{visible(name)} is not in the sources, or in a compressed archive, which is not "
                "read again: unpack it and name the folder as --source"
            )
        return self._cleaned(file)

    def _cleaned(self, file: SourceFile) -> Song:
        try:
            recording = read_midi(read_source(file, self._settings.ingest.max_file_size))
        except (Refused, UnreadableMidi) as error:
            raise LakhxlError(f"{visible(file.name)} cannot be read now: {error}") from error
        cleaned = FileProcessor(self._settings).clean(recording)
        if cleaned is None:
            raise LakhxlError("no note of it is in the vocabulary")
        return cleaned.song
