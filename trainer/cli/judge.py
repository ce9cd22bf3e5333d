"""`trainer judge`: arguments and echo only."""

from pathlib import Path
from typing import Any

import click

from shards.console import progress_bar
from shards.settings import options_for, take
from shards.writer import write_json
from trainer.cli.options import FOLDER, held_out_options
from trainer.device import choose
from trainer.evaluation import evaluate
from trainer.generation.instruments import parse_band
from trainer.judging import judge


@click.command(name="judge")
@held_out_options(least=2)
@options_for(judge.JudgeConfig)
@click.option("-o", "--out", type=FOLDER, help="The picture, .png.  [RUN/judgement/SPLIT.png]")
@click.option("--device", help="cuda, mps or cpu.  [cpu: one token at a time is no work for a GPU]")
def judge_(
    paths: tuple[Path, ...],
    split: str,
    where: str | None,
    songs: int | None,
    out: Path | None,
    device: str | None,
    **values: Any,
) -> None:
    """Let each RUN write, and hold its samples against songs that it was not trained on.

    Key, rhythm, texture, repetition, each as a distribution, and how far it lies from that of the
    held-out songs, beside how far those lie from each other; and the longest run of notes copied
    from a song the run was trained on. The figures go to RUN/judgement/SPLIT.json.

    \b
    Example:
        trainer judge runs/lakh-tiny
        trainer judge runs/rope runs/txl shards/ --count 64 --bars 32 --temperature 0.9
    """
    from trainer.judging import plot as judge_plot

    config = take(judge.JudgeConfig, values)
    place = choose(device or "cpu")
    runs, dataset = evaluate.sort_out(paths)
    if config.instruments:
        parse_band(config.instruments, dataset.vocabulary)
    where = evaluate.condition(runs, where)
    numbers = evaluate.choose_songs(dataset, split, songs, where)
    held_out = judge.beginnings(dataset, numbers, config.bars)
    results = []
    for opened in runs:
        samples = judge.write_samples(opened, config, place, progress_bar)
        found = judge.judge(
            opened, dataset, held_out, samples, split=split, config=config, bar=progress_bar
        )
        folder = opened.path / "judgement"
        folder.mkdir(exist_ok=True)
        write_json(folder / f"{split}.json", found)
        results.append(found)
    out = out or runs[0].path / "judgement" / f"{split}.png"
    judge_plot.save(results, out)
    click.echo(judge.table(results))
    click.echo(f"\npicture  {out}")
