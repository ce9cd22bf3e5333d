"""The end of a run over many songs, from the slices' fragments to the manifest, and its report.

Measured again by itself: the report, without adding up the slices' note counts.
"""

import json
import resource
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import pyarrow as pa

from benchmarks.arguments import Measurement, corpus_argument
from benchmarks.corpus import midi_files
from benchmarks.tables import with_columns
from pipeline.config import DataSettings, IngestSettings
from pipeline.duplicates.signature import BINS, KINDS, SIGNATURE
from pipeline.process_file import FileProcessor, warm_up
from pipeline.report.compute.note_counts import NoteCounts, note_counts_fragment
from pipeline.report.compute.report import build_report
from pipeline.report.compute.timing import timing_fragment
from pipeline.report.html.report_page import report_html
from pipeline.running.finalize import finalize
from pipeline.running.fragments import INDEX_FRAGMENT_SCHEMA, index_fragment, ledger_fragment
from pipeline.sources.listing import SourceFile
from shards import open_dataset
from shards.codec import EncodedSong
from shards.layout import LEDGER_SCHEMA, MANIFEST
from shards.vocabulary import Vocabulary
from shards.writer import write_json, write_shard, write_table

SLICE = 256
SETTINGS = DataSettings(ingest=IngestSettings(round_trip_check=0))
STEP_DTYPE = Vocabulary(SETTINGS.codec).step_dtype


def real_rows(corpus: Path) -> tuple[pa.Table, pa.Table, np.ndarray, list[EncodedSong]]:
    """Index and ledger rows of the corpus's kept songs, their note counts, and the songs."""
    processor = FileProcessor(SETTINGS)
    results = [
        processor.process(SourceFile(str(path.relative_to(corpus)), str(path)))
        for path in midi_files(corpus)
    ]
    kept = [result for result in results if result.index and all(map(result.index.get, KINDS))]
    index = pa.Table.from_pylist([result.index for result in kept], INDEX_FRAGMENT_SCHEMA)
    ledger = pa.Table.from_pylist([result.ledger for result in kept], LEDGER_SCHEMA)
    songs = [result.encoded for result in kept if result.encoded]
    return index, ledger, processor.note_counts.vector, songs


def random_signatures(
    real: np.ndarray, chosen: np.ndarray, own: np.ndarray, random: np.random.Generator
) -> pa.Array:
    """Signatures of a slice's songs: some repeat real songs, the others are songs of their own.

    Of a repetition 5 % of the bins are drawn anew; of a song of its own 2 % come from real songs.

    Args:
        real: shape (songs,), SIGNATURE.
        chosen: shape (slice,), the real song that each repeats.
        own: shape (slice,), bool, the songs of their own.
        random: where the draws come from.

    Returns:
        the signatures as they are stored.
    """
    signatures = real[chosen].copy()
    shape = signatures["hashes"].shape
    drawn = random.integers(0, 1 << 16, shape)
    others = real["hashes"][random.integers(0, len(real), shape), np.arange(BINS)]
    fresh = np.where(random.random(shape) < 0.02, others, drawn)
    edited = np.where(random.random(shape) < 0.05, drawn, signatures["hashes"])
    signatures["hashes"] = np.where(own[:, None], fresh, edited)
    return pa.array([one.tobytes() for one in signatures], pa.binary(SIGNATURE.itemsize))


def write_fragments(corpus: Path, partial: Path, songs: int) -> tuple[int, np.ndarray]:
    """Write the fragments of enough slices for all songs; returns their number, and all counts."""
    warm_up()
    random = np.random.default_rng(0)
    index, ledger, counts, encoded = real_rows(corpus)
    real = {kind: np.frombuffer(b"".join(index[kind].to_pylist()), SIGNATURE) for kind in KINDS}
    slices, counts = -(-songs // SLICE), counts // max(len(index) // SLICE, 1)
    for number in range(slices):
        chosen, own = random.integers(0, len(index), SLICE), random.random(SLICE) < 0.67
        signatures = {kind: random_signatures(real[kind], chosen, own, random) for kind in KINDS}
        paths = pa.array([f"{number}/{n}.mid" for n in range(SLICE)])
        md5s = pa.array([f"{number * SLICE + n:032x}" for n in range(SLICE)])
        index_rows = with_columns(
            index.take(chosen),
            path=paths,
            md5=md5s,
            music=md5s,
            **signatures,
            min_hash=pa.array(random.integers(0, 1 << 63, SLICE).astype(np.uint64)),
        )
        write_table(partial / index_fragment(number), index_rows)
        ledger_rows = with_columns(ledger.take(chosen), path=paths, md5=md5s)
        # the report draws the songs of the smallest checksums, which are in the first slice
        drawn = [encoded[song] for song in chosen.tolist()] if number == 0 else []
        checksums = write_shard(partial, number, drawn, STEP_DTYPE)
        ledger_rows = ledger_rows.replace_schema_metadata({"files": json.dumps(checksums)})
        write_table(partial / ledger_fragment(number), ledger_rows)
        np.save(partial / note_counts_fragment(number), counts)
        seconds = [0.005] * SLICE
        times = {"began": 1.0 * number, "ended": number + sum(seconds), "seconds": seconds}
        write_json(partial / timing_fragment(number), times)
    return slices, slices * counts


def measure(partial: Path, slices: int, note_counts: np.ndarray) -> None:
    """Finalize the dataset, and print the time and the peak memory of this process."""
    folder = partial.with_suffix("")
    began = time.perf_counter()
    finalize(partial, folder, slices, SETTINGS)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    totals = json.loads((folder / MANIFEST).read_bytes())["counts"]
    print(f"{totals['songs']:,} songs, {totals['clusters']:,} clusters: {seconds:.1f} s, "
          f"peak {peak:.0f} MB")  # fmt: skip
    data = open_dataset(folder)
    index, ledger = data.index, data.ledger()
    began = time.perf_counter()
    counts = NoteCounts(data.vocabulary, note_counts)
    report = build_report(index, ledger, counts, SETTINGS)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    print(f"report.json {time.perf_counter() - began:.2f} s, {len(text.encode()) / 1e3:,.0f} kB")
    began = time.perf_counter()
    page = report_html(report)
    print(f"report.html {time.perf_counter() - began:.2f} s, {len(page.encode()) / 1e3:,.0f} kB")


@click.command(cls=Measurement)
@corpus_argument
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--songs", type=int, default=180_000, show_default=True, help="So many songs.")
def command(corpus: Path, folder: Path, songs: int) -> None:
    """Finalize a dataset of 180,000 songs in FOLDER, a new place for 900 MB.

    The slices' fragments repeat rows of the real songs with other names, checksums and signatures.
    Then the pipeline finalizes them in a fresh process: clusters, splits, index, ledger, report,
    manifest. Of the arrays, which it hardly reads, only those of the first shard are there.
    """
    partial = folder / "lakh.partial"
    partial.mkdir(parents=True)
    slices, note_counts = write_fragments(corpus, partial, songs)
    process = get_context("spawn").Process(target=measure, args=(partial, slices, note_counts))
    process.start()
    process.join()
    sys.exit(process.exitcode)
