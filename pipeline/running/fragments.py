"""The files that a slice publishes in the unfinished dataset, besides its shard."""

from collections import Counter
from pathlib import Path

import pyarrow as pa

from pipeline.duplicates.signature import KINDS, SIGNATURE
from pipeline.running.status import FileCounts
from shards.layout import INDEX_SCHEMA, LEDGER_SCHEMA
from shards.mapped_files import read_table

ADDED_LATER = ("shard", "start", "stop", "split", "cluster", "representative", "duplicate")
INDEX_FRAGMENT_SCHEMA = pa.schema(
    [column for column in INDEX_SCHEMA if column.name not in ADDED_LATER]
    + [pa.field("music", pa.string()), pa.field("min_hash", pa.uint64())]
    + [pa.field(kind, pa.binary(SIGNATURE.itemsize)) for kind in KINDS]
)
"""A slice's rows of the index: what is known of a song by itself, and what to compare it by.

Signatures are of fixed size, without offsets: 32-bit offsets of lists end at 8,388,608 songs."""


def index_fragment(number: int) -> str:
    """File name of a slice's rows of the index."""
    return f"index-{number:05d}.arrow"


def ledger_fragment(number: int) -> str:
    """File name of a slice's rows of the ledger. A slice is done once this file exists."""
    return f"ledger-{number:05d}.arrow"


def published_counts(folder: Path, number: int) -> FileCounts | None:
    """Count a slice's files by its ledger fragment; None if the slice is not done."""
    path = folder / ledger_fragment(number)
    if not path.exists():
        return None
    table = read_table(path, LEDGER_SCHEMA)
    pairs = zip(table["outcome"].to_pylist(), table["rule"].to_pylist(), strict=True)
    reasons = Counter(rule or outcome for outcome, rule in pairs)
    return FileCounts(reasons.pop("kept", 0), reasons)
