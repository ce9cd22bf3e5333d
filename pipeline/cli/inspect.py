"""Commands that read a dataset: verify, audit, report, what-if, compare, show, render, browse."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.group import PATH, cli, report_summary
from pipeline.config import DataSettings
from shards import open_dataset
from shards.console import json_option, page_options, print_json, progress_bar
from shards.errors import LakhxlError
from shards.layout import MANIFEST, REPORT_PAGE
from shards.outputs import check_outputs, overwrite_option
from shards.reader import decode_song
from shards.settings import from_json
from shards.text import counted, visible, visible_lines
from shards.writer import write_text

if TYPE_CHECKING:
    from pipeline.duplicates.audit import Audit


@cli.command()
@click.argument("dataset", type=PATH)
@json_option
def verify(dataset: Path, as_json: bool) -> None:
    """Check that DATASET is intact: every file's checksum, every song's tokens.

    Any fault is an error. --json: dataset, faults (sentences); if there are none, songs and files.

    \b
    Example:
        pipeline verify shards/lakh
    """
    from pipeline.report.read_report import read_report
    from shards.verify import verify as find_faults

    with progress_bar(total=0, desc="verifying", unit=" songs") as bar:
        faults = list(find_faults(dataset, bar.reset, bar.update))
    if faults:
        if as_json:
            print_json({"dataset": str(dataset), "faults": faults})
        else:
            click.echo("\n".join(map(visible, faults)))
        raise LakhxlError(f"{dataset}: {counted(len(faults), 'fault')} found")
    intact = open_dataset(dataset)
    from_json(DataSettings, intact.manifest["settings"], where=str(intact.path / MANIFEST))
    read_report(intact.path)
    songs, files = len(intact), len(intact.manifest["files"])
    if as_json:
        print_json({"dataset": str(intact.path), "faults": [], "songs": songs, "files": files})
    else:
        click.echo(f"{intact.path} is intact: {counted(songs, 'song')}, {counted(files, 'file')}")


@cli.command()
@click.argument("dataset", type=PATH)
@json_option
def audit(dataset: Path, as_json: bool) -> None:
    """Search DATASET for duplicates: clusters, the largest, and leakage between splits.

    Leakage is measured from the tokens of up to 1,000 held-out songs, by their bass lines, which
    the clusters do not rest on; any is an error. What leaks can be named in a --duplicate-list.

    --json: songs, clusters, largest ([cluster, songs, path] each), duplicates (songs by kind),
    leaks ([song, song, what they have in common] each), held_out, compared, chance (to have seen
    leaks of 1 %), leaked_by_file (a share).

    \b
    Example:
        pipeline audit shards/lakh
    """
    from pipeline.duplicates.audit import audit as audit_dataset

    opened = open_dataset(dataset)
    with progress_bar(total=len(opened), desc="auditing", unit=" songs") as bar:
        found = audit_dataset(opened, bar.update)
    if as_json:
        print_json({**dataclasses.asdict(found), "chance": found.chance(0.01)})
    else:
        _print_audit(found)
    if found.leaks:
        raise LakhxlError(
            f"{opened.path}: {counted(len(found.leaks), 'pair')} of duplicates across splits; "
            "where they are no two splits of one cluster, list them with --duplicate-list and run "
            "again"
        )


def _print_audit(found: "Audit") -> None:
    click.echo(
        f"{counted(found.songs, 'song')} in {counted(found.clusters, 'cluster')} of duplicates"
    )
    for kind, songs in found.duplicates.items():
        click.echo(f"  {songs:>7,}  {kind}")
    for number, songs, path in found.largest:
        click.echo(f"  cluster {number}: {counted(songs, 'song')}, kept {visible(path)}")
    click.echo(f"leakage across splits: {counted(len(found.leaks), 'pair')}")
    click.echo(
        f"  bass lines of {found.compared:,} of {found.held_out:,} held-out songs compared: "
        f"if 1 % leaked, it would be seen with a chance of {100 * found.chance(0.01):.1f} %"
    )
    click.echo(
        f"a split by file would have leaked {100 * found.leaked_by_file:.1f} % of what it held out"
    )
    for one, other, common in found.leaks:
        click.echo(f"  songs {one} and {other}: {common}")


@cli.command()
@click.argument("dataset", type=PATH)
@json_option
def report(dataset: Path, as_json: bool) -> None:
    """Summarize DATASET: which files were found, which were dropped and why, what songs hold.

    --json: the dataset's report.json, of which the text shows a part; pipeline/report/schema.py
    says what its keys mean.

    \b
    Example:
        pipeline report shards/lakh
    """

    path = open_dataset(dataset).path
    if as_json:
        from pipeline.report.read_report import read_report

        print_json(read_report(path))
    else:
        click.echo(report_summary(path))
        click.echo(f"\nmore in {path / REPORT_PAGE}")


@cli.command(name="what-if")
@click.argument("dataset", type=PATH)
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

    opened = open_dataset(dataset)
    text = (
        what_if_text(read_report(opened.path)) if where is None else where_text(opened.index, where)
    )
    click.echo(visible_lines(text))


@cli.command()
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.option("--output", "-o", type=PATH, help="Also write a page with charts, to this .html.")
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

        write_text(output, compare_html(*sides))
        click.echo(f"\ncharts in {visible(output)}")


@cli.command()
@click.argument("dataset", type=PATH)
@click.argument("song")
@click.option("--ledger", is_flag=True, help="A number is that of a row in the ledger, from 0.")
@click.option("--image", type=PATH, help="Also draw a piano roll, to this .png.")
@overwrite_option
@json_option
def show(
    dataset: Path, song: str, ledger: bool, image: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Print everything recorded about one SONG of DATASET, or about a file that was not kept.

    SONG is its number, the start of its md5, or part of its path. A file that was not kept is found
    by path, md5 or --ledger: its outcome, the rule that rejected it, the value and the threshold.
    --json: the columns of the index and the ledger; ledger_row, program_names, first_tokens.

    \b
    Example:
        pipeline show shards/lakh 11 --image song.png
        pipeline show shards/lakh broken.mid
        pipeline show shards/lakh 17 --ledger
    """
    from pipeline.browse import song_facts

    if image:
        check_outputs([image], (".png",), overwrite=overwrite)
    opened = open_dataset(dataset)
    find = song_facts.find_ledger_row if ledger else song_facts.find_row
    row = find(opened, song)
    number = opened.ledger()["song"][row].as_py()
    if number is None and image:
        raise LakhxlError(f"{song} was not kept: there is no song to draw; leave --image out")
    if as_json:
        print_json(song_facts.record(opened, row))
    else:
        click.echo(song_facts.facts_text(song_facts.facts(opened, row)))
    if image and number is not None:
        from shards.render.pianoroll import save_piano_roll

        title = opened.index["path"][number].as_py()
        decoded = decode_song(opened, number)
        silences = song_facts.removed_silences(opened, number)
        save_piano_roll(decoded, opened.vocabulary, image, title=title, silences=silences)
        if not as_json:
            click.echo(f"{'piano roll':<{song_facts.LABEL_WIDTH}}{visible(image)}")


@cli.command()
@click.argument("dataset", type=PATH)
@click.argument("song")
@click.option(
    "--output", "-o", type=PATH, required=True, help="The .mid, .wav or .png file to write."
)
@click.option(
    "--soundfont", type=PATH, help="An .sf2 file for .wav; by default what Debian installs."
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
    from shards.render.song_file import check_song_files, summary, write_song

    check_song_files([output], soundfont=soundfont, overwrite=overwrite)
    opened = open_dataset(dataset)
    number = find_song(opened, song)
    decoded, title = decode_song(opened, number), opened.index["path"][number].as_py()
    write_song(decoded, output, opened.vocabulary, title=title, soundfont=soundfont)
    click.echo(f"{visible(output)}: {summary(decoded, opened.vocabulary)}")


@cli.command()
@click.argument("dataset", type=PATH)
@page_options(port=8000)
@click.option(
    "--source",
    "sources",
    type=PATH,
    multiple=True,
    help="What the dataset was made of, as given to `pipeline run`: shows the notes of rejected "
    "files, too.",
)
@click.option(
    "--soundfont",
    type=PATH,
    help="An .sf2 file to play songs with; by default what Debian installs, else the page has a "
    "simple synthesizer.",
)
def browse(
    dataset: Path, port: int, open_page: bool, sources: tuple[Path, ...], soundfont: Path | None
) -> None:
    """Serve DATASET as a web page: search and filter songs, see piano rolls, listen.

    The server answers this machine only, to whoever has the access token in the printed address;
    it needs no network and only reads. Ctrl-C ends it. From elsewhere: `ssh -L
    9000:127.0.0.1:8000 MACHINE`, then the printed address with port 9000.

    \b
    Example:
        pipeline browse shards/lakh
        pipeline browse shards/lakh --source data/midi --soundfont GeneralUser.sf2
    """
    from pipeline.browse.server import serve
    from pipeline.sources.listing import check_sources
    from shards.render.audio import usable_soundfont

    check_sources(sources)
    opened, found = open_dataset(dataset), usable_soundfont(soundfont)
    server = serve(opened, port, sources=sources, soundfont=found)
    server.serve_until_stopped(open_page=open_page)
