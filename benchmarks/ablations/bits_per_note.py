"""The loss of whole songs, to compare token streams: bits per note at equal processor time.

A loss per token says nothing about a stream of fewer tokens. Bits are summed over every target of
every validation song, and divided by the notes.

It needs nothing of the datasets' format, so an older version of this project can run it too: copy
this file into its checkout and call `python -c "from benchmarks.ablations.bits_per_note import
command; command()" run ...` there. Make the datasets of one corpus, with one percussion map.
"""

import json
import math
import statistics
from collections import defaultdict
from pathlib import Path

import click

from benchmarks.ablations.training import make_trainer, train
from benchmarks.arguments import Measurements, dataset_argument
from shards import open_dataset

TIMED_STEPS = 10

command = Measurements(help=__doc__)


@command.command()
@dataset_argument
@click.argument("results", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("name")
@click.argument("settings", nargs=-1)
@click.option("--seconds", default=900.0, show_default=True, help="Processor time to train for.")
def run(dataset: Path, results: Path, name: str, settings: tuple[str, ...], seconds: float) -> None:
    """Train the preset tiny on DATASET and append a line of stream NAME to RESULTS.

    SETTINGS change the preset, written as in `trainer fit --set`; give each seed a run of its own.
    A few steps are timed first and tell how many steps take --seconds; the learning rate falls
    until the last of them.
    """
    data = open_dataset(dataset)
    timed = train(make_trainer(data, [*settings, f"steps={TIMED_STEPS}"]))
    steps = max(round(TIMED_STEPS * seconds / timed), 1)
    trainer = make_trainer(data, [*settings, f"steps={steps}"])
    cpu = train(trainer)
    found = trainer.evaluate()
    assert found is not None
    songs = len(trainer.song_numbers["valid"])
    bits = float(found.sums.total) / math.log(2)
    means = found.means()
    line = json.dumps(
        {
            "name": name,
            "settings": settings,
            "steps": steps,
            "cpu": cpu,
            "songs": songs,
            "tokens_per_song": float(found.sums.targets) / songs,
            "nats_per_token": means["loss"],
            "bits_per_song": bits / songs,
            "bits_per_note": means["bits_per_note"],
        }
    )
    with results.open("a") as file:
        file.write(line + "\n")
    print(line)


@command.command()
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def table(results: Path) -> None:
    """Print the runs of RESULTS by stream: means, and the bits per note of each run."""
    streams = defaultdict(list)
    for line in map(json.loads, results.read_text().splitlines()):
        streams[line["name"]].append(line)
    columns = ("steps", "cpu", "tokens_per_song", "nats_per_token", "bits_per_song")
    titles = ("stream", *(column.replace("_", " ") for column in columns), "bits per note", "runs")
    print(f"| {' | '.join(titles)} |")
    print("|---" * len(titles) + "|")
    for name, lines in streams.items():
        cells = [f"{statistics.fmean(line[column] for line in lines):,.2f}" for column in columns]
        runs = [line["bits_per_note"] for line in lines]
        each = ", ".join(f"{bits:.3f}" for bits in runs)
        print(f"| {name} | {' | '.join(cells)} | {statistics.fmean(runs):.3f} | {each} |")
