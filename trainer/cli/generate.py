"""`trainer generate`: write songs with a trained model."""

from pathlib import Path
from typing import Any

import click

from shards.codec import Codec
from shards.console import progress_bar
from shards.settings import options_for, take
from trainer.cli.options import PATH, sampling_device_option
from trainer.device import choose_device
from trainer.generation import export
from trainer.generation.generate import SampleConfig, generate
from trainer.generation.instruments import parse_instruments
from trainer.generation.prompt import Prompt, encode_midi
from trainer.run.folder import VOCABULARY, load_model, open_run


@click.command(name="generate")
@click.argument("run_path", metavar="RUN", type=PATH)
@click.option(
    "-o",
    "--out",
    "outs",
    type=PATH,
    multiple=True,
    help="File to write: .mid, .png or .wav (extra: audio); may be given several times.  "
    "[RUN/samples/seed-N.mid]",
)
@click.option("--prompt", "prompt_path", type=PATH, help="A .mid file to continue.")
@click.option("--prompt-bars", type=click.IntRange(min=1), help="Only its first bars.  [all]")
@options_for(SampleConfig)
@sampling_device_option
def generate_command(
    run_path: Path,
    outs: tuple[Path, ...],
    prompt_path: Path | None,
    prompt_bars: int | None,
    device: str | None,
    **values: Any,
) -> None:
    """Write songs with the best checkpoint of RUN.

    A file's suffix selects MIDI, a picture of the piano roll, or sound. --count writes the songs of
    that many seeds, from --seed on; each file name gets its seed.

    \b
    Example:
        trainer generate runs/lakh-tiny -o song.mid -o song.png --bars 16 --temperature 0.9
        trainer generate runs/lakh-tiny -o more.mid --prompt song.mid --prompt-bars 8
        trainer generate runs/lakh-tiny --count 8 --instruments piano,bass,drums --seconds 60
    """
    config, run = take(SampleConfig, values), open_run(run_path)
    codec = Codec(run.vocabulary)
    outs = outs or (run_path / "samples" / "seed.mid",)
    export.check(outs)
    if config.instruments:
        parse_instruments(config.instruments, run.vocabulary)  # refuses typos, before loading
    if prompt_bars and not prompt_path:
        raise click.UsageError("--prompt-bars needs --prompt: name the file to continue")
    prompt = None
    if prompt_path:
        song = encode_midi(prompt_path, run_path / VOCABULARY)
        prompt = Prompt.from_song(song, codec, prompt_bars)
    model = load_model(run, choose_device(device or "cpu"))
    goal, unit = config.goal
    with progress_bar(total=goal * config.count, unit=unit) as bar:
        songs = generate(
            model,
            run.vocabulary,
            config,
            block_size=run.config.train.block_size,
            prompt=prompt,
            progress=lambda written: bar.update(written - bar.n),
        )
    has_seed_in_name = config.count > 1 or outs[0].parent == run_path / "samples"
    for seed, song in enumerate(songs, config.seed):
        suffix = f"-{seed}" if has_seed_in_name else ""
        for out in outs:
            click.echo(export.save(song, out.with_stem(out.stem + suffix), codec))
