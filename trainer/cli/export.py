"""`trainer export`: what others need of a run."""

from pathlib import Path

import click

from shards.text import visible
from trainer.cli.options import PATH
from trainer.config import EXPORT_DTYPES

SAMPLE, SAMPLE_BARS = "sample.mid", 16


@click.command(name="export")
@click.argument("run_path", metavar="RUN", type=PATH)
@click.argument("folder", type=PATH)
@click.option(
    "--dtype",
    type=click.Choice(EXPORT_DTYPES),
    default="float32",
    show_default=True,
    help="Of the stored weights; bfloat16 halves the file.",
)
@click.option(
    "--license", default="unknown", show_default=True, help="Of the weights, for the model card."
)
@click.option("--sample/--no-sample", default=True, help="Write a song of 16 bars with them.")
def export_command(run_path: Path, folder: Path, dtype: str, license: str, sample: bool) -> None:
    """Write the best checkpoint of RUN to FOLDER as others need it.

    Settings, vocabulary, weights without optimizer state, a model card and a song; no path of this
    machine. FOLDER works like a run: generate, evaluate and judge take it.

    \b
    Example:
        trainer export runs/lakh-small lakh-small --dtype bfloat16 --license cc-by-4.0
    """
    from shards.render.song_file import summary
    from trainer.generation.trained import load
    from trainer.run.export import export_run
    from trainer.run.folder import open_run

    weights = export_run(
        open_run(run_path), folder, dtype=dtype, license=license, sample=SAMPLE if sample else None
    )
    click.echo(f"{visible(folder)}: {weights.stat().st_size / 1e6:,.1f} MB of weights, {dtype}")
    if sample:
        model = load(folder)
        (song,) = model.generate(bars=SAMPLE_BARS, seed=0)
        model.save(song, folder / SAMPLE)
        click.echo(f"{visible(folder / SAMPLE)}: {summary(song, model.run.vocabulary)}")
