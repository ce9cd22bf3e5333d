"""The `trainer` command: arguments and echo only."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import click

from shards import open_dataset
from shards.codec import Codec
from shards.console import STOPPED, Commands, progress_bar
from shards.errors import LakhxlError
from shards.settings import options_for, take
from shards.writer import write_json
from trainer import presets
from trainer.cli.judge import judge_
from trainer.cli.options import FOLDER, held_out_options
from trainer.config import Config, for_dataset, override
from trainer.device import choose, describe
from trainer.evaluation import evaluate
from trainer.generation import export as samples
from trainer.generation.generate import SampleConfig, generate
from trainer.generation.instruments import parse_band
from trainer.generation.prompt import Prompt, encode_midi
from trainer.model.knn import file as knn_file
from trainer.run import checkpoint
from trainer.run import folder as run
from trainer.training import distributed as ranks
from trainer.training.loop import Fit, has_ended
from trainer.training.trainer import Trainer
from trainer.training.unigram_baseline import unigram


@click.group(cls=Commands)
def cli() -> None:
    """Train a Transformer-XL on a dataset that `pipeline run` made, and let it write music.

    \b
    Example:
        trainer fit shards/ --preset tiny
        trainer generate runs/lakh-tiny -o song.mid
    """


@cli.command()
@click.argument("dataset", type=FOLDER)
@click.option(
    "--preset", type=click.Choice([*presets.PRESETS]), help="Settings to start from.  [tiny]"
)
@click.option("--steps", type=click.IntRange(min=1), help="Training steps, as --set steps=N.")
@click.option("--run", "folder", type=FOLDER, help="Folder to make.  [runs/DATASET-PRESET]")
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change one setting."
)
@click.option("--where", metavar="SQL", help="Only songs of the index for which this is true.")
@click.option(
    "--instrument-head",
    type=click.Choice(["plain", "conditional"]),
    help="As --set instrument_head=…: conditional also sees the token whose instrument it names.",
)
@click.option("--device", help="cuda, mps or cpu.  [the best there is]")
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="GPUs of this machine to share the lanes out to, or processes on its CPU.",
)
def fit(
    dataset: Path,
    preset: str | None,
    steps: int | None,
    folder: Path | None,
    resume: bool,
    assignments: tuple[str, ...],
    where: str | None,
    instrument_head: str | None,
    device: str | None,
    devices: int,
) -> None:
    """Train on DATASET, a dataset or a folder that holds exactly one.

    Ctrl-C saves and ends with status 130; --resume then goes on as if nothing had happened.

    \b
    Example:
        trainer fit shards/ --preset tiny --run runs/first --set lr=0.002
        trainer fit shards/ --run runs/first --resume
        trainer fit shards/ --where "instruments >= 3 and meter = '4/4'"
    """
    if where is not None:
        assignments = (*assignments, f"where={where}")
    if instrument_head is not None:
        assignments = (*assignments, f"instrument_head={instrument_head}")
    if resume and (preset or assignments):
        raise click.UsageError("--resume goes on with the run's own settings: only --steps may be")
    data = open_dataset(dataset)
    folder = folder or Path("runs") / f"{data.path.resolve().name}-{preset or 'tiny'}"
    opened = _known_run(folder, data, steps) if resume else None
    config = opened.config if opened else _new_config(preset, steps, assignments, data)
    if opened is None and not ranks.launched():
        run.check_free(folder)
    if devices > 1 and not ranks.launched():
        ranks.Ranks(count=devices).check(config)
        ranks.launch(devices)
    with ranks.joined(device) as (mine, device):
        trainer = Trainer(data, config, choose(device), mine)
        state = _load_last(trainer, opened) if opened else {}
        yardstick = unigram(data, trainer.songs["train"], trainer.songs["valid"])
        if mine.first:
            _introduce(trainer, data, folder, yardstick)
            opened = opened or run.create(folder, config, data)
            run.write_config(opened, str(data.path))
        mine.meet()  # the folder is there
        training = Fit(trainer, opened or run.open_run(folder), state)
        whole = training.go(yardstick)
    if mine.first:
        _conclude(training, folder, dataset, yardstick, whole)


def _new_config(
    preset: str | None, steps: int | None, assignments: tuple[str, ...], data: Any
) -> Config:
    config = presets.preset(preset or "tiny")
    config = override(config, [*assignments, *([f"steps={steps}"] if steps else [])])
    return for_dataset(config, data)


def _known_run(folder: Path, data: Any, steps: int | None) -> run.Run:
    """The run to go on with, held to the dataset."""
    opened = run.open_run(folder)
    found = run.dataset_fingerprint(data, opened.config.train.where)
    if found != opened.fingerprint:
        raise LakhxlError(
            f"{data.path} is not the dataset of {folder}: fingerprint "
            f"{found}, expected {opened.fingerprint}"
        )
    if steps:
        train = dataclasses.replace(opened.config.train, steps=steps)
        opened = dataclasses.replace(opened, config=dataclasses.replace(opened.config, train=train))
    return opened


def _load_last(trainer: Trainer, opened: run.Run) -> dict[str, Any]:
    """Load the last checkpoint; a run killed before its first starts from the beginning."""
    last = opened.last_checkpoint()
    if last is None:
        return {}
    tensors, state = checkpoint.load(last)
    store = knn_file.database_file(last.parent, "train", state["step"])
    trainer.load(tensors, state, store=(store, state.get("knn_seal") or ""))
    if has_ended(opened, state):
        raise LakhxlError(
            f"{opened.path} has done all its {trainer.config.train.steps} steps: name more with "
            "--steps"
        )
    return state


def _introduce(trainer: Trainer, data: Any, folder: Path, yardstick: dict[str, float]) -> None:
    counts = ", ".join(f"{len(numbers):,} {split}" for split, numbers in trainer.songs.items())
    model, train = trainer.config.model, trainer.config.train
    click.echo(
        f"dataset  {data.path}: {counts} songs, {model.vocab_size} tokens in the vocabulary, "
        f"{model.instrument_classes} instruments\n"
        f"model    {trainer.parameters:,} parameters: {model.layers} layers, width {model.d_model}, "
        f"{model.heads} heads, memory {model.memory}\n"
        f"training {train.steps:,} steps of {train.batch_size} lanes x {train.block_size} tokens on "
        f"{describe(trainer.device)}, from step {trainer.step:,}\n"
        f"unigram  {yardstick['loss']:.3f} nats a token: the score of bare frequencies\n"
        f"run      {folder}",
        err=True,
    )


def _conclude(
    training: Fit, folder: Path, dataset: Path, yardstick: dict[str, float], whole: bool
) -> None:
    step = training.trainer.step
    if not whole:
        click.echo(
            f"stopped and saved at step {step:,}; go on with: "
            f"trainer fit {shlex.quote(str(dataset))} --run {shlex.quote(str(folder))} --resume"
        )
        raise click.exceptions.Exit(STOPPED)
    click.echo(
        f"{folder}: step {step:,}, validation loss {training.last_valid['loss']:.3f} nats a token "
        f"(unigram {yardstick['loss']:.3f})\n"
        f"curves: tensorboard --logdir {folder}/tensorboard\n"
        f"music:  trainer generate {folder} -o song.mid"
    )


@cli.command(name="generate")
@click.argument("folder", metavar="RUN", type=FOLDER)
@click.option(
    "-o",
    "--out",
    "outs",
    type=FOLDER,
    multiple=True,
    help="File to write, .mid, .png or .wav (extra: audio); may be given several times."
    "  [RUN/samples/seed-N.mid]",
)
@click.option("--prompt", "prompt_file", type=FOLDER, help="A .mid file to go on from.")
@click.option("--prompt-bars", type=click.IntRange(min=1), help="Only its first bars.  [all]")
@options_for(SampleConfig)
@click.option("--device", help="cuda, mps or cpu.  [cpu: one token at a time is no work for a GPU]")
def generate_(
    folder: Path,
    outs: tuple[Path, ...],
    prompt_file: Path | None,
    prompt_bars: int | None,
    device: str | None,
    **values: Any,
) -> None:
    """Write songs with the best checkpoint of RUN, as MIDI files, piano rolls or sound.

    With --count, the songs are of the seeds from --seed on, and each file is named after its own.

    \b
    Example:
        trainer generate runs/lakh-tiny -o song.mid -o song.png --bars 16 --temperature 0.9
        trainer generate runs/lakh-tiny -o more.mid --prompt song.mid --prompt-bars 8
        trainer generate runs/lakh-tiny --count 8 --instruments piano,bass,drums --seconds 60
    """
    config = take(SampleConfig, values)
    opened = run.open_run(folder)
    outs = outs or (folder / "samples" / "seed.mid",)
    samples.check(outs)
    if config.instruments:
        parse_band(config.instruments, opened.vocabulary)  # a typo shows before the model loads
    if prompt_bars and not prompt_file:
        raise click.UsageError("--prompt-bars says how much of --prompt is taken: name one")
    beginning = None
    if prompt_file:
        whole = encode_midi(prompt_file, folder / run.VOCABULARY)
        beginning = Prompt.of(whole, Codec(opened.vocabulary), prompt_bars)
    model = run.load_model(opened, choose(device or "cpu"))
    goal, unit = config.goal
    with progress_bar(total=goal * config.count, unit=unit) as bar:
        songs = generate(
            model,
            opened.vocabulary,
            config,
            block_size=opened.config.train.block_size,
            prompt=beginning,
            progress=lambda written: bar.update(written - bar.n),
        )
    numbered = config.count > 1 or outs[0].parent == folder / "samples"
    for number, song in enumerate(songs):
        name = f"-{config.seed + number}" if numbered else ""
        for out in outs:
            path = out.with_name(f"{out.stem}{name}{out.suffix}")
            click.echo(samples.save(song, path, Codec(opened.vocabulary)))


@cli.command(name="evaluate")
@held_out_options(least=1)
@click.option(
    "--memory",
    "memories",
    type=click.IntRange(min=0),
    multiple=True,
    default=(0,),
    help="Also score with so many tokens remembered; may be given several times.  [0]",
)
@click.option("-o", "--out", type=FOLDER, help="The picture, .png.  [RUN/evaluation/SPLIT.png]")
@click.option("--device", help="cuda, mps or cpu.  [the best there is]")
def evaluate_(
    paths: tuple[Path, ...],
    split: str,
    where: str | None,
    songs: int | None,
    memories: tuple[int, ...],
    out: Path | None,
    device: str | None,
) -> None:
    """Score each RUN on songs that it was not trained on: what it pays for what, and how sure.

    Every target counts once, on a memory of its own. Without a DATASET the run's own is taken,
    and runs that were trained with --where are scored on songs of that kind. The figures go to
    RUN/evaluation/SPLIT.json.

    \b
    Example:
        trainer evaluate runs/lakh-tiny
        trainer evaluate runs/rope runs/txl shards/ --split valid --memory 0 --memory 64
    """
    from trainer.evaluation import plot as evaluate_plot
    from trainer.evaluation.breakdown import Targets

    place = choose(device)
    runs, dataset = evaluate.sort_out(paths)
    where = evaluate.condition(runs, where)
    numbers = evaluate.choose_songs(dataset, split, songs, where)
    targets = Targets.of(dataset, numbers)
    results = []
    for opened in runs:
        found = evaluate.evaluate(
            opened,
            dataset,
            numbers,
            targets,
            split=split,
            where=where,
            memories=[*memories],
            device=place,
            bar=progress_bar,
        )
        folder = opened.path / "evaluation"
        folder.mkdir(exist_ok=True)
        write_json(folder / f"{split}.json", found)
        results.append(found)
    out = out or runs[0].path / "evaluation" / f"{split}.png"
    evaluate_plot.save(results, out)
    click.echo(evaluate.table(results))
    click.echo(f"\npicture  {out}")


cli.add_command(judge_)
