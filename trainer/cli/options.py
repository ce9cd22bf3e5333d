"""Options that several commands share."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shards.console import print_json
from shards.layout import SPLITS
from shards.outputs import Outputs, check_outputs
from shards.text import visible
from shards.writer import write_json

if TYPE_CHECKING:
    from trainer.run.folder import Run

Result = TypeVar("Result")

PATH = click.Path(path_type=Path)

device_option = click.option("--device", help="cuda, mps or cpu.  [the first available]")
sampling_device_option = click.option(
    "--device", help="cuda, mps or cpu.  [cpu: a GPU is no faster at one token at a time]"
)


def held_out_options(min_songs: int) -> Callable[[Any], Any]:
    """Arguments of evaluate and judge: RUN..., --split, --where, --songs (at least `min_songs`)."""
    options = (
        click.argument("paths", metavar="RUN... [DATASET]", nargs=-1, required=True, type=PATH),
        click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True),
        click.option(
            "--where",
            metavar="SQL",
            help="Only songs that match this condition over the index; true: all.  "
            "[the condition of the runs]",
        ),
        click.option(
            "--songs",
            type=click.IntRange(min=min_songs),
            help="Only this many songs, drawn at random.  [all]",
        ),
    )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def result_files(
    runs: "Sequence[Run]", kind: str, split: str, plot: Path | None, *, overwrite: bool
) -> tuple[list[Path], Path]:
    """The files of evaluate and judge: RUN/`kind`/`split`.json for each run, and the plot.

    Raises:
        LakhxlError: one cannot be written, or exists already; or a run has no checkpoint yet.
    """
    for run in runs:
        run.best_checkpoint()
        (run.path / kind).mkdir(exist_ok=True)
    files = [run.path / kind / f"{split}.json" for run in runs]
    plot = plot or files[0].with_suffix(".png")
    check_outputs(files, overwrite=overwrite)
    check_outputs([plot], (".png",), overwrite=overwrite)
    return files, plot


def write_results(
    results: Iterable[Result],
    files: Sequence[Path],
    plot: Path,
    *,
    table: Callable[[list[Result]], str],
    draw: Callable[[list[Result], Path], None],
    as_json: bool,
) -> None:
    """Write the result of each run when it is there; at the end print all, and draw them."""
    found = []
    with Outputs() as outputs:
        for result, file in zip(results, files, strict=True):
            found.append(result)
            outputs.write(file, lambda path, result=result: write_json(path, result))
        if as_json:
            print_json(found)
        else:
            click.echo(table(found))
        if outputs.write(plot, lambda path: draw(found, path)) and not as_json:
            click.echo(f"\nplot     {visible(plot)}")
