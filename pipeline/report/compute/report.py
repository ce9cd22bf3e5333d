"""Build report.json: what was found, what was removed and why, and what the dataset holds.

Pages and terminal only display it. It is a function of the index, the ledger and the workers'
counts alone: the same tables give the same bytes.

Conventions
    file      a row of the ledger
    kept      a file whose song is in the dataset: a row of the index
    songs     the representative songs, one or more of each cluster; every distribution is over
              them, and train, valid and test are made of them
    lost      the files that one stage of the funnel has and the next lacks, by reason; these add
              up exactly
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import DataSettings
from pipeline.duplicates.stored import numbers
from pipeline.midi.events import TIERS
from pipeline.report.compute.findings import findings
from pipeline.report.compute.folders import folder_use, reasons
from pipeline.report.compute.histograms import MEASURES, distribution
from pipeline.report.compute.note_counts import NoteCounts
from pipeline.report.compute.note_counts_json import note_counts_report
from pipeline.report.compute.songs import Songs, pieces
from pipeline.report.compute.what_if import what_if
from pipeline.report.number_format import significant
from pipeline.report.schema import (
    LOSSES,
    REPORT_VERSION,
    BlockUse,
    ChangedSetting,
    Cluster,
    CommonTempo,
    Control,
    Duplicates,
    Example,
    Loss,
    Programs,
    Reading,
    Reason,
    RejectedRoll,
    Report,
    SongRoll,
    Stage,
    Total,
)
from shards import settings
from shards.gm import FAMILY_NAMES, PROGRAM_NAMES
from shards.layout import SPLITS
from shards.vocabulary import PROGRAMS

EXAMPLES = 5
"""Files shown of each reason: the first, the last, and others spread evenly between."""
BLOCK_SIZES = (256, 512, 1024, 2048, 4096)
LARGEST = 10
"""Clusters shown."""


def build_report(
    index: pa.Table,
    ledger: pa.Table,
    counts: NoteCounts,
    data_settings: DataSettings,
    rolls: Sequence[SongRoll] = (),
    rejected_rolls: Sequence[RejectedRoll] = (),
) -> Report:
    """Summarize a dataset from what its workers measured; no token is read again.

    Args:
        index: `shards.layout.INDEX_SCHEMA`, one row per kept song.
        ledger: `shards.layout.LEDGER_SCHEMA`, one row per input file.
        counts: over the kept songs.
        data_settings: what the dataset was made with.
        rolls: the beginnings of a few songs, to be drawn.
        rejected_rolls: the same of a few rejected files.
    """
    songs, vocabulary = Songs(index), counts.vocabulary
    why, file = reasons(ledger), numbers(index["md5"])
    report: Report = {
        "report_version": REPORT_VERSION,
        "settings": _changed_settings(data_settings),
        "findings": [],
        "vocabulary": {
            "tokens": len(vocabulary),
            "instruments": vocabulary.instruments,
            "steps_per_beat": vocabulary.settings.steps_per_beat,
            "fingerprint": vocabulary.fingerprint,
        },
        "funnel": _funnel(index, ledger, songs, why, file),
        "reasons": [{**reason, "examples": _examples(ledger, reason)} for reason in why],
        "totals": _totals(index, songs),
        "distributions": {
            measure.name: distribution(measure.values(songs), measure.edges) for measure in MEASURES
        },
        "folders": folder_use(index, ledger),
        "meters": _by_frequency(songs["meter"]),
        "split_meters": {
            split: _by_frequency(songs["meter"].filter(pc.equal(songs["split"], split)))
            for split in SPLITS
        },
        "tempo": _common_tempo(songs),
        "keys": _by_frequency(songs["key"].drop_null()),
        "pitch": {  # songs by their lowest and by their highest one
            name: np.bincount(songs[name].drop_null().to_numpy(), minlength=128).tolist()
            for name in ("pitch_low", "pitch_high")
        },
        "programs": _programs(songs),
        "losses": {name: _loss(songs, name) for name in LOSSES},
        "controls": {
            "bends": _control(songs, "bends", "bend_tokens"),
            "modulations": _control(songs, "modulations", "modulation_tokens"),
        },
        "silence": {
            "songs": _rows_above_zero(songs["silence_seconds"]),
            "hours": _sum(songs["silence_seconds"]) / 3600,
        },
        "unaligned_songs": _rows_above_zero(songs["unaligned"].cast(pa.int8())),
        "what_if": what_if(index, ledger, data_settings.limits),
        "reading": _reading(ledger),
        "duplicates": _duplicates(index, file),
        "blocks": _blocks(songs.select(["tokens"]).filter(pc.equal(songs["split"], "train"))),
        "note_counts": note_counts_report(counts),
        "rolls": [*rolls],
        "rejected_rolls": [*rejected_rolls],
    }
    report["findings"] = findings(report, data_settings.split)
    return report


def _changed_settings(data_settings: DataSettings) -> list[ChangedSetting]:
    """The settings that are not at their defaults, named as stage.name."""
    stages, defaults = settings.to_json(data_settings), settings.to_json(DataSettings())
    return [
        {"name": f"{stage}.{name}", "value": str(value), "default": str(defaults[stage][name])}
        for stage, values in stages.items()
        for name, value in values.items()
        if value != defaults[stage][name]
    ]


def _common_tempo(songs: Songs) -> CommonTempo:
    tempos, found = np.unique(np.rint(songs["bpm"].to_numpy()), return_counts=True)
    if not len(tempos):
        return {"bpm": None, "songs": 0}
    return {"bpm": int(tempos[found.argmax()]), "songs": int(found.max())}


def _funnel(
    index: pa.Table, ledger: pa.Table, songs: Songs, why: list[Reason], file: np.ndarray
) -> list[Stage]:
    """From files found to songs trained on: each stage, and what the next one lacks.

    Args:
        file: shape (kept,), equal for identical files.
    """
    unread = [reason for reason in why if reason["outcome"] != "rejected"]
    rejected = [reason for reason in why if reason["outcome"] == "rejected"]
    readable = ledger.num_rows - sum(reason["files"] for reason in unread)
    distinct_files = len(np.unique(file))
    duplicates: list[Reason] = [
        {"outcome": "kept", "rule": "identical_file", "files": index.num_rows - distinct_files},
        {"outcome": "kept", "rule": "near_duplicate", "files": distinct_files - len(songs)},
    ]
    stages = (
        ("found", ledger.num_rows, unread),
        ("readable", readable, rejected),
        ("kept", index.num_rows, [reason for reason in duplicates if reason["files"]]),
        ("representative", len(songs), []),
    )
    return [{"stage": name, "files": files, "lost": lost} for name, files, lost in stages]


def _examples(ledger: pa.Table, reason: Reason) -> list[Example]:
    found = pc.equal(ledger["outcome"], reason["outcome"])
    rule = ledger["rule"]
    same = pc.is_null(rule) if reason["rule"] is None else pc.equal(rule, reason["rule"])
    rows = np.flatnonzero(pc.fill_null(pc.and_(found, same), False).to_numpy())
    shown = rows[np.unique(np.linspace(0, len(rows) - 1, EXAMPLES).astype(np.int64))]
    columns = ["path", "bytes", "value", "threshold", "detail"]
    examples = [
        {name: _finite(value) for name, value in row.items()}
        for row in ledger.select(columns).take(shown).to_pylist()
    ]
    return cast(list[Example], examples)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _totals(index: pa.Table, songs: Songs) -> dict[str, Total]:
    """Size of what was kept, of the representative songs, and of each split."""
    sizes = songs.select(["tokens", "notes", "bars", "seconds"])
    tables = {"kept": index, "representative": sizes}
    tables |= {split: sizes.filter(pc.equal(songs["split"], split)) for split in SPLITS}
    return {
        name: {
            "songs": table.num_rows,
            "tokens": _sum(table["tokens"]),
            "notes": _sum(table["notes"]),
            "bars": _sum(table["bars"]),
            "hours": significant(_sum(table["seconds"]) / 3600),
        }
        for name, table in tables.items()
    }


def _sum(column: pa.ChunkedArray) -> Any:
    wide = pa.float64() if pa.types.is_floating(column.type) else pa.int64()
    return pc.sum(column.cast(wide), min_count=0).as_py()


def _rows_above_zero(column: pa.ChunkedArray) -> int:
    return pc.sum(pc.greater(column, 0), min_count=0).as_py()


def _by_frequency(column: pa.ChunkedArray) -> dict[str, int]:
    """Each value with its number of rows, the most frequent first."""
    pairs = [(pair["values"], pair["counts"]) for pair in column.value_counts().to_pylist()]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _programs(songs: Songs) -> Programs:
    families = len(FAMILY_NAMES)
    by_program, by_family = np.zeros(PROGRAMS, np.int64), np.zeros(families, np.int64)
    for lists in pieces(songs["programs"]):
        programs = pc.list_flatten(lists).to_numpy().astype(np.int64)
        song = pc.list_parent_indices(lists).to_numpy()
        song_and_family = song * families + programs * families // PROGRAMS
        is_first = np.diff(song_and_family, prepend=-1) != 0  # programs ascend within a song
        by_family += np.bincount(song_and_family[is_first] % families, minlength=families)
        by_program += np.bincount(programs, minlength=PROGRAMS)
    return {
        "songs": dict(zip(PROGRAM_NAMES, by_program.tolist(), strict=True)),
        "family_songs": {
            **dict(zip(FAMILY_NAMES, by_family.tolist(), strict=True)),
            "Drums": _rows_above_zero(songs["drum_share"]),
        },
    }


def _loss(songs: Songs, name: str) -> Loss:
    return {"occurrences": _sum(songs[name]), "songs": _rows_above_zero(songs[name])}


def _control(songs: Songs, changes: str, tokens: str) -> Control:
    return {**_loss(songs, changes), "tokens": _sum(songs[tokens])}


def _reading(ledger: pa.Table) -> Reading:
    tiers = _by_frequency(ledger["tier"].drop_null())
    repairs = ledger["repairs"].combine_chunks().drop_null()
    start, stop = repairs.offsets[0].as_py(), repairs.offsets[-1].as_py()
    pairs = pa.table(
        {"code": repairs.keys[start:stop], "times": repairs.items[start:stop].cast(pa.int64())}
    )
    groups = (
        pairs.group_by("code", use_threads=False)
        .aggregate([([], "count_all"), ("times", "sum")])
        .to_pylist()
    )
    groups.sort(key=lambda group: (-group["count_all"], group["code"]))
    return {
        "tiers": {tier: tiers.get(tier, 0) for tier in TIERS},
        "repairs": {
            group["code"]: {"files": group["count_all"], "occurrences": group["times_sum"]}
            for group in groups
        },
    }


def _blocks(songs: pa.Table) -> list[BlockUse]:
    inputs = songs["tokens"].to_numpy().astype(np.int64) - 1
    return [
        {
            "block_size": size,
            "inputs": int(inputs.sum()),
            "cropped": int((inputs % size).sum()),
            "songs_cropped": int((inputs < size).sum()),
            "padded": int((-inputs % size).sum()),
        }
        for size in BLOCK_SIZES
    ]


def _duplicates(index: pa.Table, file: np.ndarray) -> Duplicates:
    cluster = index["cluster"].to_numpy()
    split = pc.index_in(index["split"], pa.array(SPLITS)).fill_null(len(SPLITS)).to_numpy()
    songs_in = np.bincount(cluster)
    clusters, sizes = int(np.count_nonzero(songs_in)), np.bincount(songs_in)
    largest = np.argsort(-songs_in, kind="stable")[: min(LARGEST, clusters)]
    return {
        "clusters": clusters,
        "covers": _rows_above_zero(index["representative"].cast(pa.int8())) - clusters,
        "sizes": [[size, int(sizes[size])] for size in np.flatnonzero(sizes).tolist() if size],
        "largest": [_cluster(index, np.flatnonzero(cluster == number), file) for number in largest],
        "clusters_in_two_splits": _in_two_splits(cluster, split),
        "files_in_two_splits": _in_two_splits(file, split),
    }


def _in_two_splits(numbers: np.ndarray, split: np.ndarray) -> int:
    """How many numbers have rows of more than one split."""
    split_of = np.empty(numbers.max(initial=-1) + 1, split.dtype)
    split_of[numbers] = split  # of one of its rows
    return len(np.unique(numbers[split_of[numbers] != split]))


def _cluster(index: pa.Table, members: np.ndarray, file: np.ndarray) -> Cluster:
    """One cluster by its first representative, or by its first song where it has none."""
    representative = index["representative"].take(members).to_numpy()
    song = int(members[representative.argmax()])
    return {
        "songs": len(members),
        "distinct_files": len(np.unique(file[members])),
        "song": song,
        "path": index["path"][song].as_py(),
        "split": index["split"][song].as_py(),
    }
