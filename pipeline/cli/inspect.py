"""Commands that read a dataset: verify, audit, report, what-if, compare, show, render, browse."""

import contextlib
from pathlib import Path

import click

from pipeline.cli.group import Folder, cli, report_summary
from shards.console import progress_bar
from shards.errors import LakhxlError
from shards.layout import MANIFEST, REPORT_PAGE
from shards.outputs import check_outputs, overwrite_option
from shards.text import visible, visible_lines


@cli.command()
@click.argument("dataset", type=Folder())
def verify(dataset: Path) -> None:
    """Check that DATASET is intact: every file's checksum, every song's tokens.

    \b
    Example:
        pipeline verify shards/lakh
    """
    from pipeline.config import DataSettings
    from pipeline.report.read_report import read_report
    from shards import open_dataset
    from shards.settings import from_json
    from shards.verify import verify as find_faults

    with progress_bar(total=0, desc="verifying", unit=" songs") as bar:
        faults = list(find_faults(dataset, bar.reset, bar.update))
    for fault in faults:
        click.echo(visible(fault))
    if faults:
        raise LakhxlError(f"{dataset}: {len(faults)} faults found")
    intact = open_dataset(dataset)
    from_json(DataSettings, intact.manifest["settings"], where=str(intact.path / MANIFEST))
    read_report(intact.path)
    files = len(intact.manifest["files"])
    click.echo(f"{intact.path} is intact: {len(intact)} songs, {files} files")


@cli.command()
@click.argument("dataset", type=Folder())
def audit(dataset: Path) -> None:
    """Search DATASET for duplicates: clusters, the largest, and leakage between splits.

    Leakage is measured from the tokens of up to 1,000 held-out songs, by their bass lines, which
    the clusters do not rest on; any is an error. What leaks can be named in a --duplicate-list.

    \b
    Example:
        pipeline audit shards/lakh
    """
    from pipeline.duplicates.audit import audit as audit_dataset
    from shards import open_dataset

    opened = open_dataset(dataset)
    with progress_bar(total=len(opened), desc="auditing", unit=" songs") as bar:
        found = audit_dataset(opened, bar.update)
    click.echo(f"{found.songs:,} songs in {found.clusters:,} clusters of duplicates")
    for kind, songs in found.duplicates.items():
        click.echo(f"  {songs:>7,}  {kind}")
    for number, songs, path in found.largest:
        click.echo(f"  cluster {number}: {songs} songs, kept {visible(path)}")
    click.echo(f"leakage across splits: {len(found.leaks)} pairs")
    click.echo(
        f"  bass lines of {found.compared:,} of {found.held_out:,} held-out songs compared: "
        f"if 1 % leaked, it would be seen with a chance of {100 * found.chance(0.01):.1f} %"
    )
    click.echo(
        f"a split by file would have leaked {100 * found.leaked_by_file:.1f} % of what it held out"
    )
    for one, other, common in found.leaks:
        click.echo(f"  songs {one} and {other}: {common}")
    if found.leaks:
        raise LakhxlError(
            f"{opened.path}: {len(found.leaks)} pairs of duplicates across splits; where they are "
            "no two splits of one cluster, list them with --duplicate-list and run again"
        )


@cli.command()
@click.argument("dataset", type=Folder())
def report(dataset: Path) -> None:
    """Summarize DATASET: which files were found, which were dropped and why, what songs hold.

    \b
    Example:
        pipeline report shards/lakh
    """
    from shards import open_dataset

    path = open_dataset(dataset).path
    click.echo(report_summary(path))
    click.echo(f"\nmore in {path / REPORT_PAGE}")


@cli.command(name="what-if")
@click.argument("dataset", type=Folder())
@click.option(
    "--where",
    metavar="SQL",
    help="Show instead how many songs this condition over the index keeps.",
)
def what_if(dataset: Path, where: str | None) -> None:
    """Show how many songs of DATASET other filter thresholds would keep.

    A threshold found here needs no new run: give it to `trainer fit --where`.

    \b
    Example:
        pipeline what-if shards/lakh --where "instruments >= 3 and meter = '4/4'"
    """
    from pipeline.report.read_report import read_report
    from pipeline.report.terminal.what_if import what_if_text, where_text
    from shards import open_dataset

    opened = open_dataset(dataset)
    text = where_text(opened.index, where) if where else what_if_text(read_report(opened.path))
    click.echo(visible_lines(text))


@cli.command()
@click.argument("a", type=Folder())
@click.argument("b", type=Folder())
@click.option("--output", "-o", type=Folder(), help="Also write a page with charts, to this .html.")
@overwrite_option
def compare(a: Path, b: Path, output: Path | None, overwrite: bool) -> None:
    """Compare two datasets, A and B: the settings that differ, and every figure of both.

    \b
    Example:
        pipeline compare shards/lakh shards/lakh-strict -o compare.html
    """
    from pipeline.report.compute.compare import read_side
    from pipeline.report.terminal.compare import compare_text

    if output:
        check_outputs([output], (".html",), overwrite=overwrite)
    sides = read_side(a), read_side(b)
    click.echo(compare_text(*sides))
    if output:
        from pipeline.report.html.compare_page import compare_html
        from shards.writer import write_text

        write_text(output, compare_html(*sides))
        click.echo(f"\ncharts in {visible(output)}")


@cli.command()
@click.argument("dataset", type=Folder())
@click.argument("song")
@click.option("--image", type=Folder(), help="Also draw a piano roll, to this .png.")
@overwrite_option
def show(dataset: Path, song: str, image: Path | None, overwrite: bool) -> None:
    """Print everything recorded about one SONG of DATASET.

    SONG is its number, the start of its md5, or part of its path.

    \b
    Example:
        pipeline show shards/lakh 11 --image song.png
    """
    from pipeline.browse.song_facts import facts_text, find_song, removed_silences
    from shards import open_dataset

    if image:
        check_outputs([image], (".png",), overwrite=overwrite)
    opened = open_dataset(dataset)
    number = find_song(opened, song)
    click.echo(facts_text(opened, number))
    if image:
        from shards.reader import decode_song
        from shards.render.pianoroll import save_piano_roll

        title = opened.index["path"][number].as_py()
        decoded = decode_song(opened, number)
        silences = removed_silences(opened, number)
        save_piano_roll(decoded, opened.vocabulary, image, title=title, silences=silences)
        click.echo(f"{'piano roll':<20}{visible(image)}")


@cli.command()
@click.argument("dataset", type=Folder())
@click.argument("song")
@click.option(
    "--output", "-o", type=Folder(), required=True, help="The .mid, .wav or .png file to write."
)
@click.option(
    "--soundfont", type=Folder(), help="An .sf2 file for .wav; by default what Debian installs."
)
@overwrite_option
def render(dataset: Path, song: str, output: Path, soundfont: Path | None, overwrite: bool) -> None:
    """Write one SONG of DATASET as a .mid file, play it to a .wav file, or draw it to a .png file.

    This lets you hear what the tokens keep. A .wav needs the `audio` extra, FluidSynth and a
    soundfont.

    \b
    Example:
        pipeline render shards/lakh 11 -o song.mid
        pipeline render shards/lakh 11 -o song.wav
    """
    from pipeline.browse.song_facts import find_song
    from shards import open_dataset
    from shards.reader import decode_song
    from shards.render.song_file import check_song_files, summary, write_song

    check_song_files([output], soundfont=soundfont, overwrite=overwrite)
    opened = open_dataset(dataset)
    number = find_song(opened, song)
    decoded, title = decode_song(opened, number), opened.index["path"][number].as_py()
    write_song(decoded, output, opened.vocabulary, title=title, soundfont=soundfont)
    click.echo(f"{visible(output)}: {summary(decoded, opened.vocabulary)}")


@cli.command()
@click.argument("dataset", type=Folder())
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port to serve on; 0 picks a free one.",
)
@click.option("--open/--no-open", "open_page", default=True, help="Open the page in a browser.")
def browse(dataset: Path, port: int, open_page: bool) -> None:
    """Serve DATASET as a web page: search and filter songs, see piano rolls, listen.

    The server answers this machine only, needs no network and only reads. Ctrl-C ends it.

    \b
    Example:
        pipeline browse shards/lakh
    """
    from pipeline.browse.server import serve
    from shards import open_dataset

    with serve(open_dataset(dataset), port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        click.echo(f"{address}  (Ctrl-C ends it)")
        if open_page:
            click.launch(address)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
