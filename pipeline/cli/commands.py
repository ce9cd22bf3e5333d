"""`pipeline`: MIDI files in, a dataset out. Arguments and echo only."""

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from pipeline.clean.rules import Limits
from pipeline.clean.silence import SilenceSettings
from pipeline.config import DataSettings, IngestSettings
from pipeline.demo import DemoSettings, compose_corpus, is_demo
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.splits import SplitSettings
from pipeline.running.pool_settings import PoolSettings
from pipeline.sources.fetch import ARCHIVES, LAKH, download
from shards.console import STOPPED, Commands, progress_bar, visible
from shards.errors import LakhxlError
from shards.layout import REPORT_PAGE
from shards.settings import options_for, take
from shards.vocabulary import CodecSettings

STAGES = {
    "ingest": IngestSettings,
    "codec": CodecSettings,
    "silence": SilenceSettings,
    "limits": Limits,
    "duplicates": DuplicateSettings,
    "split": SplitSettings,
}

NO_DATA = (
    "there is no folder ./data here. Name a folder of MIDI files (`pipeline run FOLDER`), "
    "download the Lakh MIDI Dataset (`pipeline fetch lmd_full`), or compose a small corpus to "
    "try things on (`pipeline demo data`)"
)


class Folder(click.Path):
    """A path that our own errors speak about, not click's, so that each says what to do."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """From scraped MIDI files to memory-mapped training data.

    \b
    Example:
        pipeline demo data
        pipeline run data --workers 2
        pipeline report shards/lakh
    """


@cli.command()
@click.argument("folder", type=Folder())
@click.option("--restart", is_flag=True, help="Replace a demo corpus that is already there.")
@options_for(DemoSettings)
def demo(folder: Path, restart: bool, **options: Any) -> None:
    """Compose a small corpus at FOLDER, with planted faults, to try everything on.

    Nothing is downloaded; the same seed gives the same files.

    \b
    Example:
        pipeline demo data
    """
    if restart and is_demo(folder):
        shutil.rmtree(folder)
    corpus = compose_corpus(folder, take(DemoSettings, options))
    click.echo(
        f"{folder}: {corpus.songs} songs, {corpus.minutes:.0f} minutes of music, and "
        f"{len(corpus.planted)} files with planted faults or copies"
    )


@cli.command()
@click.argument("archive", metavar="NAME", type=click.Choice(tuple(ARCHIVES)))
@click.option(
    "--to",
    type=Folder(),
    default=Path("data"),
    show_default=True,
    help="The folder to download into.",
)
@click.option("--address", default=LAKH, show_default=True, help="Where the archives lie.")
def fetch(archive: str, to: Path, address: str) -> None:
    """Download the Lakh MIDI Dataset, or a part of it, and check its checksum.

    lmd_full has 178,561 files in 1.8 GB, lmd_matched 45,129 in 1.4 GB, clean_midi 17,257 in
    0.2 GB. A download that was stopped goes on when the same command is given again.

    \b
    Example:
        pipeline fetch lmd_full --to data
        pipeline run data/lmd_full.tar.gz
    """
    try:
        path = download(archive, to, address)
    except KeyboardInterrupt:
        click.echo(f"stopped; what came is kept in {to}: the same command goes on", err=True)
        raise click.exceptions.Exit(STOPPED) from None
    click.echo(f"{path}\nread it, without unpacking it, with  pipeline run {path}")


def data_options(command: Any) -> Any:
    """Every setting of a dataset as an option."""
    for cls in reversed(STAGES.values()):
        command = options_for(cls)(command)
    return command


@cli.command()
@click.argument("sources", nargs=-1, type=Folder(), metavar="[SOURCE]...")
@click.option(
    "--out",
    type=Folder(),
    default=Path("shards"),
    show_default=True,
    help="The folder that datasets go into.",
)
@click.option("--name", default="lakh", show_default=True, help="The dataset's folder in there.")
@click.option(
    "--restart",
    is_flag=True,
    help="Begin anew, replacing a dataset or an unfinished run of this name.",
)
@options_for(PoolSettings)
@data_options
def run(sources: tuple[Path, ...], out: Path, name: str, restart: bool, **options: Any) -> None:
    """Read every MIDI file in the SOURCEs (by default ./data) and write a dataset.

    A SOURCE is a folder, searched to any depth, a file, or an archive (.tar, .tar.gz, .tar.xz,
    .zip), which is read without unpacking it. A folder with nothing but archives in it stands
    for them.

    The dataset appears only when it is whole. A run that is stopped, by Ctrl-C or by a power
    cut, goes on where it was when the same command is given again.

    \b
    Example:
        pipeline run data --workers 16
        pipeline run lmd_full.tar.gz more/midi --name everything
    """
    from pipeline.running.worker import start_server

    how = take(PoolSettings, options)
    data_settings = DataSettings(**{stage: take(cls, options) for stage, cls in STAGES.items()})
    if not sources and not Path("data").is_dir():
        raise LakhxlError(NO_DATA)
    folder = out / _plain_name(name)
    start_server()  # it loads its libraries while the files are listed

    from pipeline.report.build.timing import timings_page_path
    from pipeline.running.progress import ListingProgress, RunProgress
    from pipeline.running.run import begin, carry_out

    try:
        with ListingProgress() as bar:
            began = begin(
                sources or (Path("data"),), folder, data_settings, restart=restart, listing=bar.show
            )
        for note in began.notes:
            click.echo(note, err=True)
        with RunProgress(began.files, began.earlier.files) as bar:
            dataset = carry_out(began, data_settings, how, bar.show)
    except KeyboardInterrupt:
        click.echo(
            f"stopped; what is done is kept in {folder}.partial: the same command goes on", err=True
        )
        raise click.exceptions.Exit(STOPPED) from None
    click.echo(_report_text(dataset))
    click.echo(f"\ndataset  {dataset.path}\nreport   {dataset.path / REPORT_PAGE}")
    click.echo(f"times    {timings_page_path(dataset.path)}")


def _plain_name(name: str) -> str:
    if not name or Path(name).name != name or name.endswith(".partial"):
        raise LakhxlError(f"--name {name!r} is not a plain folder name; --out names its parent")
    return name


def _report_text(dataset: Any) -> str:
    from pipeline.report.build.file import read_report
    from pipeline.report.terminal import report_text

    return report_text(read_report(dataset.path))


@cli.command()
@click.argument("dataset", type=Folder())
def verify(dataset: Path) -> None:
    """Check that DATASET is whole: every file's checksum, every song's tokens.

    \b
    Example:
        pipeline verify shards/lakh
    """
    from shards import open_dataset
    from shards.verify import verify as faults_of

    with progress_bar(total=0, desc="verifying", unit=" songs") as bar:
        faults = list(faults_of(dataset, bar.reset, bar.update))
    for fault in faults:
        click.echo(fault)
    if faults:
        raise LakhxlError(f"{dataset}: {len(faults)} faults found")
    whole = open_dataset(dataset)
    click.echo(f"{whole.path} is whole: {len(whole)} songs, {len(whole.manifest['files'])} files")


@cli.command()
@click.argument("dataset", type=Folder())
def audit(dataset: Path) -> None:
    """Look for copies in DATASET: clusters, the largest, and leakage between its splits.

    Leakage is measured from the tokens, not from the clusters; any is an error.

    \b
    Example:
        pipeline audit shards/lakh
    """
    from pipeline.duplicates.audit import audit as audit_dataset
    from shards import open_dataset

    opened = open_dataset(dataset)
    with progress_bar(total=len(opened), desc="auditing", unit=" songs") as bar:
        found = audit_dataset(opened, bar.update)
    click.echo(f"{found['songs']:,} songs in {found['clusters']:,} clusters of copies")
    for kind, songs in found["copies"].items():
        click.echo(f"  {songs:>7,}  {kind}")
    for number, songs, path in found["biggest"]:
        click.echo(f"  cluster {number}: {songs} songs, kept {path}")
    click.echo(f"leakage across splits: {len(found['leaks'])} pairs")
    click.echo(
        f"a split by file would have leaked {100 * found['by_file']:.1f} % of what it held out"
    )
    for one, other, alike in found["leaks"]:
        click.echo(f"  songs {one} and {other}: similarity {alike:.2f}")
    if found["leaks"]:
        raise LakhxlError(f"{opened.path}: {len(found['leaks'])} pairs of copies across splits")


@cli.command()
@click.argument("dataset", type=Folder())
def report(dataset: Path) -> None:
    """Summarize DATASET: what was found, what was thrown away and why, what is in it.

    \b
    Example:
        pipeline report shards/lakh
    """
    from shards import open_dataset

    opened = open_dataset(dataset)
    click.echo(_report_text(opened))
    click.echo(f"\nmore in {opened.path / REPORT_PAGE}")


@cli.command(name="what-if")
@click.argument("dataset", type=Folder())
@click.option(
    "--where", metavar="SQL", help="Say what this condition over the index keeps instead."
)
def what_if(dataset: Path, where: str | None) -> None:
    """Tell what other bounds would keep of DATASET: thresholds, and the share of songs left.

    A bound found here needs no other run: give it to `trainer fit --where`.

    \b
    Example:
        pipeline what-if shards/lakh --where "instruments >= 3 and meter = '4/4'"
    """
    from pipeline.report.build.file import read_report
    from pipeline.report.build.what_if import what_if_text, where_text
    from shards import open_dataset

    opened = open_dataset(dataset)
    click.echo(where_text(opened.index, where) if where else what_if_text(read_report(opened.path)))


@cli.command()
@click.argument("a", type=Folder())
@click.argument("b", type=Folder())
@click.option("--output", "-o", type=Folder(), help="Also write a page with charts, to this .html.")
def compare(a: Path, b: Path, output: Path | None) -> None:
    """Set two datasets, A and B, side by side: settings that differ, and what came of them.

    \b
    Example:
        pipeline compare shards/lakh shards/lakh-strict -o compare.html
    """
    from pipeline.report.compare import compare_html, compare_text, read_side
    from shards.writer import write_text

    sides = read_side(a), read_side(b)
    click.echo(compare_text(*sides))
    if output:
        write_text(output, compare_html(*sides))
        click.echo(f"\ncharts in {visible(output)}")


@cli.command()
@click.argument("dataset", type=Folder())
@click.argument("song")
@click.option("--image", type=Folder(), help="Also draw a piano roll, to this .png.")
def show(dataset: Path, song: str, image: Path | None) -> None:
    """Tell all that is known about one SONG of DATASET: its number, md5, or part of its path.

    \b
    Example:
        pipeline show shards/lakh 11 --image song.png
    """
    from pipeline.show import cuts, describe, find_song
    from shards import open_dataset

    opened = open_dataset(dataset)
    number = find_song(opened, song)
    click.echo(describe(opened, number))
    if image:
        from shards.render.pianoroll import save_piano_roll

        title = opened.index["path"][number].as_py()
        decoded = opened.codec.decode(opened.song(number))
        removed = cuts(opened, number)
        save_piano_roll(decoded, opened.vocabulary, image, title=title, silences=removed)
        click.echo(f"{'piano roll':<20}{visible(image)}")


@cli.command()
@click.argument("dataset", type=Folder())
@click.argument("song")
@click.option(
    "--output", "-o", type=Folder(), required=True, help="The .mid or .wav file to write."
)
@click.option(
    "--soundfont", type=Folder(), help="An .sf2 file for .wav; by default what Debian installs."
)
def render(dataset: Path, song: str, output: Path, soundfont: Path | None) -> None:
    """Write one SONG of DATASET as a .mid file, or play it to a .wav file.

    Hear what the tokens kept. A .wav takes the `audio` extra, FluidSynth and a soundfont.

    \b
    Example:
        pipeline render shards/lakh 11 -o song.mid
        pipeline render shards/lakh 11 -o song.wav
    """
    from pipeline.show import find_song
    from shards import open_dataset
    from shards.render.midi import write_midi

    opened = open_dataset(dataset)
    decoded = opened.codec.decode(opened.song(find_song(opened, song)))
    if output.suffix.lower() == ".wav":
        from shards.render.audio import write_wav

        write_wav(decoded, output, opened.vocabulary, soundfont)
    elif output.suffix.lower() in (".mid", ".midi"):
        write_midi(decoded, output, opened.vocabulary)
    else:
        raise LakhxlError(f"{output}: expected a name that ends in .mid or .wav")
    seconds = float(decoded.seconds(decoded.end))
    click.echo(f"{visible(output)}: {len(decoded.notes)} notes, {seconds:.1f} s")


@cli.command()
@click.argument("dataset", type=Folder())
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes any that is free.",
)
@click.option("--open/--no-open", "open_page", default=True, help="Open the page in a browser.")
def browse(dataset: Path, port: int, open_page: bool) -> None:
    """Show DATASET as a page: search and filter its songs, see piano rolls, listen.

    The page is for this machine alone, needs no network, and only reads. Ctrl-C ends it.

    \b
    Example:
        pipeline browse shards/lakh
    """
    from pipeline.browse import serve
    from shards import open_dataset

    with serve(open_dataset(dataset), port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        click.echo(f"{address}  (Ctrl-C ends it)")
        if open_page:
            click.launch(address)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


@cli.command()
@click.argument("file", type=Folder())
@click.option(
    "--vocabulary", type=Folder(), required=True, help="vocabulary.json of a dataset or a run."
)
@click.option("--output", "-o", type=Folder(), required=True, help="The .npz file to write.")
def encode(file: Path, vocabulary: Path, output: Path) -> None:
    """Encode one MIDI FILE as `run` would, without judging it: five arrays in an .npz file.

    \b
    Example:
        pipeline encode song.mid --vocabulary shards/lakh/vocabulary.json -o song.npz
    """
    from pipeline.single import encode_file
    from shards.reader import read_vocabulary
    from shards.writer import publish

    encoded = encode_file(file, read_vocabulary(vocabulary))
    publish(output, lambda stream: np.savez(stream, **vars(encoded)))
    click.echo(f"{output}: {len(encoded)} tokens")


if __name__ == "__main__":
    sys.exit(cli())
