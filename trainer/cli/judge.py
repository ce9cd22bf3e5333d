"""`trainer judge`: the samples of trained models compared with held-out songs."""

from pathlib import Path
from typing import Any

import click

from shards.console import json_option, progress_bar
from shards.outputs import overwrite_option
from shards.settings import options_for, take
from trainer.cli.options import (
    PATH,
    held_out_options,
    result_files,
    sampling_device_option,
    write_results,
)
from trainer.judging.settings import JudgeConfig


@click.command(name="judge")
@held_out_options(min_songs=2)
@options_for(JudgeConfig)
@click.option("-o", "--out", type=PATH, help="Plot to write, .png.  [RUN/judgement/SPLIT.png]")
@overwrite_option
@json_option
@sampling_device_option
def judge_command(
    paths: tuple[Path, ...],
    split: str,
    where: str | None,
    songs: int | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
    device: str | None,
    **values: Any,
) -> None:
    """Compare samples of each RUN with held-out songs.

    Key, rhythm, texture and repetition are compared as distributions: the distance of the samples
    from the held-out songs, next to the distance of held-out songs from each other. Also finds
    the longest run of notes that a sample copies from a training song. The numbers go to
    RUN/judgement/SPLIT.json.

    --json: a list, for each RUN what is in that file.

    \b
    Example:
        trainer judge runs/lakh-tiny
        trainer judge runs/rope runs/txl shards/ --count 64 --bars 32 --temperature 0.9
    """
    from trainer.device import choose_device
    from trainer.evaluation import held_out
    from trainer.generation.instruments import parse_instruments
    from trainer.judging import judge, plot

    config = take(JudgeConfig, values)
    chosen_device = choose_device(device or "cpu")
    runs, dataset = held_out.open_runs(paths)
    files, plot_file = result_files(runs, "judgement", split, out, overwrite=overwrite)
    if config.instruments is not None:
        parse_instruments(config.instruments, dataset.vocabulary)
    where = held_out.common_where(runs, where)
    numbers = held_out.choose_songs(dataset, split, songs, where)
    references = judge.first_bars(dataset, numbers, config.bars)
    results = (
        judge.judge(
            run,
            dataset,
            references,
            judge.generate_samples(run, config, chosen_device, progress_bar),
            split=split,
            config=config,
            bar=progress_bar,
        )
        for run in runs
    )
    write_results(results, files, plot_file, table=judge.table, draw=plot.save, as_json=as_json)
