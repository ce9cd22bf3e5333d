"""Commands that write a dataset, or prepare for it: demo, fetch, run, encode, settings."""

import dataclasses
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from pipeline.cli.group import PATH, cli, report_summary, warn_if_uncached
from pipeline.config import DataSettings
from pipeline.demo import DemoSettings, compose_corpus, is_demo
from pipeline.running.pool_settings import PoolSettings
from pipeline.sources.fetch import ARCHIVES, LAKH, download
from shards.console import STOPPED, json_option, print_json, print_note
from shards.errors import LakhxlError
from shards.layout import REPORT_PAGE
from shards.outputs import check_outputs, overwrite_option
from shards.reader import read_json, read_vocabulary
from shards.settings import describe, from_json, options_for, take
from shards.settings_file import config_option, settings_text
from shards.text import counted, visible
from shards.writer import publish

STAGES: dict[str, type] = {
    field.name: field.default_factory  # pyright: ignore[reportAssignmentType] (they are classes)
    for field in dataclasses.fields(DataSettings)
}
"""The settings class of each stage."""
SECTIONS = {**STAGES, "run": PoolSettings}
"""Sections of a --config file."""

NO_DATA = (
    "there is no folder ./data here. Name a folder of MIDI files (`pipeline run FOLDER`), "
    "download the Lakh MIDI Dataset (`pipeline fetch lmd_full`), or compose a small corpus to "
    "try things on (`pipeline demo data`)"
)


@cli.command()
@click.argument("folder", type=PATH)
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
        f"{folder}: {counted(corpus.songs, 'song')}, {corpus.minutes:.0f} minutes of music, and "
        f"{len(corpus.planted)} files with planted faults or duplicates"
    )


@cli.command()
@click.argument("archive", metavar="NAME", type=click.Choice(tuple(ARCHIVES)))
@click.option(
    "--to",
    type=PATH,
    default=Path("data"),
    show_default=True,
    help="The folder to download into.",
)
@click.option("--address", default=LAKH, show_default=True, help="The URL of the archives.")
def fetch(archive: str, to: Path, address: str) -> None:
    """Download the Lakh MIDI Dataset, or a part of it, and verify its checksum.

    lmd_full has 178,561 files in 1.8 GB, lmd_matched 45,129 in 1.4 GB, clean_midi 17,257 in
    0.2 GB. No size and checksum of clean_midi are published: it is tested by unpacking it. To
    resume a download that was stopped, give the same command again.

    \b
    Example:
        pipeline fetch lmd_full --to data
        pipeline run data/lmd_full.tar.gz
    """
    try:
        path = download(archive, to, address)
    except KeyboardInterrupt:
        click.echo("stopped; the same command resumes, where the server lets it", err=True)
        raise click.exceptions.Exit(STOPPED) from None
    if ARCHIVES[archive].md5 is None:
        click.echo(f"no checksum of {archive} is published; it unpacks to its last byte")
    click.echo(f"{path}\nto read it without unpacking:  pipeline run {shlex.quote(str(path))}")


def data_options(command: Callable) -> Callable:
    """Give a command every setting of a dataset as an option."""
    for cls in reversed(STAGES.values()):
        command = options_for(cls)(command)
    return command


@cli.command()
@click.argument("sources", nargs=-1, type=PATH, metavar="[SOURCE]...")
@click.option(
    "--out",
    type=PATH,
    default=Path("shards"),
    show_default=True,
    help="The folder that datasets go into.",
)
@click.option("--name", default="lakh", show_default=True, help="The dataset's folder in --out.")
@click.option(
    "--restart",
    is_flag=True,
    help="Start over, replacing a dataset or an unfinished run of this name.",
)
@config_option(
    SECTIONS, "Settings, as `pipeline settings --toml` prints them; options override them."
)
@options_for(PoolSettings)
@data_options
@json_option
def run(
    sources: tuple[Path, ...], out: Path, name: str, restart: bool, as_json: bool, **options: Any
) -> None:
    """Read every MIDI file in the SOURCEs (by default ./data) and write a dataset.

    A SOURCE is a folder, searched to any depth, a file, or an archive (.tar, .tar.gz, .tar.xz,
    .tar.bz2, .tar.zst, .zip), which is read without unpacking it. A folder that holds only
    archives stands for them.

    The dataset appears only when it is complete. To resume a run that was stopped, by Ctrl-C or
    by a power cut, give the same command again.

    --json: the paths dataset, report_page and times_page, and report, as in `pipeline report`.

    \b
    Example:
        pipeline run data --workers 16
        pipeline run lmd_full.tar.gz more/midi --name everything
        pipeline run data --config mine.toml --min-notes 100
    """
    from pipeline.running.worker import start_server

    pool_settings = take(PoolSettings, options)
    data_settings = DataSettings(**{stage: take(cls, options) for stage, cls in STAGES.items()})
    if not sources and not Path("data").is_dir():
        raise LakhxlError(NO_DATA)
    folder = out / _plain_name(name)
    warn_if_uncached()
    start_server()  # it loads its libraries while the files are listed

    from pipeline.report.compute.timing import timings_page_path
    from pipeline.report.read_report import read_report
    from pipeline.running.execute import engine, execute
    from pipeline.running.prepare import prepare
    from pipeline.running.progress_bars import ListingBar, RunBar

    try:
        with engine(pool_settings):
            with ListingBar() as bar:
                prepared = prepare(
                    sources or (Path("data"),),
                    folder,
                    data_settings,
                    restart=restart,
                    on_listing=bar.show,
                )
            if prepared.lock.note:
                print_note(prepared.lock.note)
            if prepared.passed_over:
                print_note(f"not read: {', '.join(prepared.passed_over)}; see the ledger")
            with RunBar(prepared.files, prepared.earlier.files) as bar:
                dataset = execute(prepared, pool_settings, bar.show)
    except KeyboardInterrupt:
        click.echo(
            f"stopped; {folder}.partial keeps what is done: the same command resumes", err=True
        )
        raise click.exceptions.Exit(STOPPED) from None
    pages = {"report": dataset.path / REPORT_PAGE, "times": timings_page_path(dataset.path)}
    if as_json:
        paths = {f"{name}_page": str(path) for name, path in pages.items()}
        print_json({"dataset": str(dataset.path), **paths, "report": read_report(dataset.path)})
    else:
        click.echo(report_summary(dataset.path))
        click.echo(f"\ndataset  {dataset.path}")
        click.echo("\n".join(f"{name:<9}{path}" for name, path in pages.items()))


def _plain_name(name: str) -> str:
    if name in ("", "..") or Path(name).name != name or name.endswith((".partial", ".lock")):
        raise LakhxlError(f"--name {name!r} is not a plain folder name; --out names its parent")
    return name


@cli.command(name="settings")
@click.option("--toml", is_flag=True, help="Print them as a file for `run --config` instead.")
def list_settings(toml: bool) -> None:
    """Print every setting of `run`: its default, what is allowed, and the reason for it.

    A setting is an option of `run`: max_notes is --max-notes.

    \b
    Example:
        pipeline settings
        pipeline settings --toml > mine.toml
    """
    if toml:
        click.echo(settings_text({section: cls() for section, cls in SECTIONS.items()}))
        return
    click.echo("What a dataset holds; stored in its dataset.json\n")
    click.echo(describe(DataSettings))
    click.echo("\n\nHow a run is executed; none of it changes the dataset\n")
    click.echo(describe(PoolSettings))


@cli.command()
@click.argument("file", type=PATH)
@click.option(
    "--vocabulary", type=PATH, required=True, help="vocabulary.json of a dataset or a run."
)
@click.option(
    "--settings", type=PATH, help="dataset.json of a dataset, whose settings apply.  [defaults]"
)
@click.option("--output", "-o", type=PATH, required=True, help="The .npz file to write.")
@overwrite_option
def encode(
    file: Path, vocabulary: Path, settings: Path | None, output: Path, overwrite: bool
) -> None:
    """Encode one MIDI FILE as `run` would, without filtering: five arrays in an .npz file.

    \b
    Example:
        pipeline encode song.mid --vocabulary shards/lakh/vocabulary.json \\
            --settings shards/lakh/dataset.json -o song.npz
    """
    check_outputs([output], (".npz",), overwrite=overwrite)
    warn_if_uncached()
    from pipeline.process_file import encode_file

    data_settings = None
    if settings:
        manifest = read_json(settings)
        if not isinstance(manifest, dict) or "settings" not in manifest:
            raise LakhxlError(f"{settings} is not a dataset.json: it has no 'settings'")
        data_settings = from_json(DataSettings, manifest["settings"], where=str(settings))
    encoded = encode_file(file, read_vocabulary(vocabulary), data_settings)
    publish(output, lambda stream: np.savez(stream, **vars(encoded)))
    click.echo(f"{visible(output)}: {counted(len(encoded), 'token')}")
