"""The stats report: what was found, what was thrown away and why, what is in the dataset.

`measure_report` makes plain data of the index and the ledger, the same bytes for the same
tables; `terminal.report_text` and `page.report_html` only say it, for a terminal and for a browser.

Conventions
    file      a row of the ledger
    kept      a file whose song is in the dataset: a row of the index
    representative   the one song of its cluster of copies that is trained on; every distribution is of
              the representative songs, and train, valid and test are made of them
    lost      what one stage of the funnel has more than the next, by reason; adds up exactly
"""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clean.rules import Limits
from pipeline.report.number_format import significant
from pipeline.report.build.file import REPORT_VERSION
from pipeline.report.build.histograms import MEASURES, distribution
from pipeline.report.html.page import report_html
from pipeline.report.build.note_counts_json import measure_tally
from pipeline.report.build.note_counts import Tally
from pipeline.report.terminal import report_text
from pipeline.report.build.what_if import what_if
from shards.gm import FAMILY_NAMES, PROGRAM_NAMES
from shards.layout import SPLITS
from shards.vocabulary import PROGRAMS

__all__ = ["measure_report", "report_html", "report_text"]

SAMPLES = 5
"""Files shown of each reason: the first, the last, and others evenly between."""
BLOCKS = (256, 512, 1024, 2048, 4096)
BIGGEST = 10
"""Clusters shown."""
LOSSES = ("notes_merged", "notes_outside_map", "durations_shortened", "meters_dropped")


def measure_report(
    index: pa.Table, ledger: pa.Table, tally: Tally, limits: Limits
) -> dict[str, Any]:
    """Measure a dataset, from what its workers measured: no token is looked at again.

    Args:
        index: `shards.layout.INDEX_SCHEMA`, one row a kept song.
        ledger: `shards.layout.LEDGER_SCHEMA`, one row an input file.
        tally: counts over the kept songs.
        limits: that its songs were held to.

    Returns:
        What report.json holds: dicts, lists, strings, numbers and None. A function of the
        arguments alone.
    """
    songs, vocabulary = index.filter(index["representative"]), tally.vocabulary
    reasons = _reasons(ledger)
    return {
        "report_version": REPORT_VERSION,
        "vocabulary": {
            "tokens": len(vocabulary),
            "instruments": vocabulary.instruments,
            "steps_per_beat": vocabulary.settings.steps_per_beat,
            "fingerprint": vocabulary.fingerprint,
        },
        "funnel": _funnel(index, ledger, songs, reasons),
        "reasons": [{**reason, "samples": _samples(ledger, reason)} for reason in reasons],
        "totals": _totals(index, songs),
        "distributions": {
            measure.name: distribution(measure.values(songs), measure.edges) for measure in MEASURES
        },
        "meters": _tally(songs["meter"]),
        "keys": _tally(songs["key"].drop_null()),
        "pitch": _pitch(songs),
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
        "unaligned": _rows_above_zero(songs["unaligned"].cast(pa.int8())),
        "what_if": what_if(index, ledger, limits),
        "reading": _reading(ledger),
        "duplicates": _duplicates(index),
        "blocks": _blocks(songs.filter(pc.equal(songs["split"], "train"))),
        "counts": measure_tally(tally),
    }


def _funnel(
    index: pa.Table, ledger: pa.Table, songs: pa.Table, reasons: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """From files found to songs trained on: each stage, and what it loses to the next."""
    unread = [reason for reason in reasons if reason["outcome"] != "rejected"]
    rejected = [reason for reason in reasons if reason["outcome"] == "rejected"]
    readable = ledger.num_rows - sum(reason["files"] for reason in unread)
    contents = pc.count_distinct(index["md5"], mode="all").as_py()
    copies = [
        {"outcome": "kept", "rule": "identical_file", "files": index.num_rows - contents},
        {"outcome": "kept", "rule": "near_duplicate", "files": contents - songs.num_rows},
    ]
    stages = (
        ("found", ledger.num_rows, unread),
        ("readable", readable, rejected),
        ("kept", index.num_rows, [copy for copy in copies if copy["files"]]),
        ("representative", songs.num_rows, []),
    )
    return [{"stage": name, "files": files, "lost": lost} for name, files, lost in stages]


def _reasons(ledger: pa.Table) -> list[dict[str, Any]]:
    """Why files were not kept, the commonest first; `rule` is None where the outcome says it."""
    dropped = ledger.filter(pc.not_equal(ledger["outcome"], "kept")).select(["outcome", "rule"])
    groups = dropped.group_by(["outcome", "rule"]).aggregate([([], "count_all")]).to_pylist()
    rows = [
        {"outcome": group["outcome"], "rule": group["rule"], "files": group["count_all"]}
        for group in groups
    ]
    return sorted(rows, key=lambda row: (-row["files"], row["outcome"], row["rule"] or ""))


def _samples(ledger: pa.Table, reason: dict[str, Any]) -> list[dict[str, Any]]:
    found = pc.equal(ledger["outcome"], reason["outcome"])
    rule = ledger["rule"]
    same = pc.is_null(rule) if reason["rule"] is None else pc.equal(rule, reason["rule"])
    rows = np.flatnonzero(pc.fill_null(pc.and_(found, same), False).to_numpy())
    shown = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLES).astype(np.int64))]
    columns = ["path", "bytes", "value", "threshold", "detail"]
    return [
        {name: _finite(value) for name, value in row.items()}
        for row in ledger.select(columns).take(shown).to_pylist()
    ]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _totals(index: pa.Table, songs: pa.Table) -> dict[str, dict[str, Any]]:
    """Size of what was kept, of the representative songs, and of each split of them."""
    parts = {"kept": index, "representative": songs}
    parts |= {split: songs.filter(pc.equal(songs["split"], split)) for split in SPLITS}
    return {
        name: {
            "songs": part.num_rows,
            **{column: _sum(part[column]) for column in ("tokens", "notes", "bars")},
            "hours": significant(_sum(part["seconds"]) / 3600),
        }
        for name, part in parts.items()
    }


def _sum(column: pa.ChunkedArray) -> Any:
    wide = pa.float64() if pa.types.is_floating(column.type) else pa.int64()
    return pc.sum(column.cast(wide), min_count=0).as_py()


def _rows_above_zero(column: pa.ChunkedArray) -> int:
    return pc.sum(pc.greater(column, 0), min_count=0).as_py()


def _tally(column: pa.ChunkedArray) -> list[list[Any]]:
    """Each value with its number of rows, the commonest first."""
    pairs = [(pair["values"], pair["counts"]) for pair in column.value_counts().to_pylist()]
    return [list(pair) for pair in sorted(pairs, key=lambda pair: (-pair[1], str(pair[0])))]


def _pitch(songs: pa.Table) -> dict[str, list[int]]:
    """Songs by their lowest and by their highest pitch, 128 counts each; drums not counted."""
    return {
        name: np.bincount(songs[name].drop_null().to_numpy(), minlength=128).tolist()
        for name in ("pitch_low", "pitch_high")
    }


def _programs(songs: pa.Table) -> dict[str, Any]:
    """How many songs use each program, each family of programs, and drums."""
    lists = songs["programs"].combine_chunks()
    programs = pc.list_flatten(lists).to_numpy().astype(np.int64)
    song = pc.list_parent_indices(lists).to_numpy()
    families = len(FAMILY_NAMES)
    song_and_family = song * families + programs * families // PROGRAMS
    is_first = np.diff(song_and_family, prepend=-1) != 0  # programs ascend within a song
    of_family = np.bincount(song_and_family[is_first] % families, minlength=families).tolist()
    of_program = np.bincount(programs, minlength=PROGRAMS).tolist()
    return {
        "songs": dict(zip(PROGRAM_NAMES, of_program, strict=True)),
        "family_songs": dict(zip(FAMILY_NAMES, of_family, strict=True)),
        "drum_songs": _rows_above_zero(songs["drum_share"]),
    }


def _loss(songs: pa.Table, name: str) -> dict[str, int]:
    return {"times": _sum(songs[name]), "songs": _rows_above_zero(songs[name])}


def _control(songs: pa.Table, times: str, tokens: str) -> dict[str, int]:
    """How many songs use a controller, how often, and what it costs or would cost in tokens."""
    return {**_loss(songs, times), "tokens": _sum(songs[tokens])}


def _reading(ledger: pa.Table) -> dict[str, Any]:
    """How files had to be read: tiers, and each repair with its files and how often it was made.

    Of the files that could be read, kept or not.
    """
    tiers = dict(_tally(ledger["tier"].drop_null()))
    repairs = ledger["repairs"].combine_chunks().drop_null()
    begin, end = (repairs.offsets[0].as_py(), repairs.offsets[-1].as_py())
    pairs = pa.table(
        {"code": repairs.keys[begin:end], "times": repairs.items[begin:end].cast(pa.int64())}
    )
    groups = pairs.group_by("code").aggregate([([], "count_all"), ("times", "sum")]).to_pylist()
    groups.sort(key=lambda group: (-group["count_all"], group["code"]))
    return {
        "tiers": {tier: tiers.get(tier, 0) for tier in ("strict", "tolerant", "salvage")},
        "repairs": {
            group["code"]: {"files": group["count_all"], "times": group["times_sum"]}
            for group in groups
        },
    }


def _blocks(songs: pa.Table) -> list[dict[str, Any]]:
    """What blocks of T tokens make of songs, by what the trainer does with a song's end.

    A song of n tokens has n - 1 that can be an input, having a next one.

    Returns:
        For each T: `inputs`; `cropped`: those that mode crop leaves out; `songs_cropped`: songs
        it leaves out whole; `padded`: places that mode pad leaves empty. Mode join does neither.
    """
    inputs = songs["tokens"].to_numpy().astype(np.int64) - 1
    return [
        {
            "block": block,
            "inputs": int(inputs.sum()),
            "cropped": int((inputs % block).sum()),
            "songs_cropped": int((inputs < block).sum()),
            "padded": int((-inputs % block).sum()),
        }
        for block in BLOCKS
    ]


def _duplicates(index: pa.Table) -> dict[str, Any]:
    """Clusters of copies: how large, the biggest, and whether one reaches into two splits."""
    clusters = index.group_by("cluster").aggregate(
        [([], "count_all"), ("split", "count_distinct"), ("md5", "count_distinct")]
    )
    clusters = clusters.sort_by([("count_all", "descending"), ("cluster", "ascending")])
    sizes = np.bincount(clusters["count_all"].to_numpy())
    same_file = index.group_by("md5").aggregate([("split", "count_distinct")])
    return {
        "clusters": clusters.num_rows,
        "sizes": [[size, int(sizes[size])] for size in np.flatnonzero(sizes).tolist()],
        "biggest": [_cluster(index, row) for row in clusters.slice(0, BIGGEST).to_pylist()],
        "clusters_in_two_splits": _in_two(clusters),
        "files_in_two_splits": _in_two(same_file),
    }


def _in_two(groups: pa.Table) -> int:
    return _rows_above_zero(pc.subtract(groups["split_count_distinct"], 1))


def _cluster(index: pa.Table, row: dict[str, Any]) -> dict[str, Any]:
    """One cluster by its representative song; of a cluster without one, by its first."""
    members = np.flatnonzero(pc.equal(index["cluster"], row["cluster"]).to_numpy())
    representative = index["representative"].take(members).to_numpy()
    song = int(members[representative.argmax()])
    return {
        "songs": row["count_all"],
        "contents": row["md5_count_distinct"],
        "song": song,
        "path": index["path"][song].as_py(),
        "split": index["split"][song].as_py(),
    }
