"""`trainer generate`: write songs with a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shards.console import print_note, progress_bar
from shards.outputs import Outputs, overwrite_option
from shards.settings import options_for, take
from shards.text import visible
from trainer.cli.options import PATH, sampling_device_option
from trainer.generation.settings import SampleConfig

if TYPE_CHECKING:
    from shards.codec import Codec
    from trainer.generation.prompt import Prompt
    from trainer.run.folder import Run


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
@overwrite_option
@click.option("--soundfont", type=PATH, help="An .sf2 file for .wav.  [what Debian installs]")
@click.option("--prompt", "prompt_path", type=PATH, help="A .mid file to continue.")
@click.option("--prompt-bars", type=click.IntRange(min=1), help="Only its first bars.  [all]")
@options_for(SampleConfig)
@sampling_device_option
def generate_command(
    run_path: Path,
    outs: tuple[Path, ...],
    overwrite: bool,
    soundfont: Path | None,
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
    if prompt_bars and not prompt_path:
        raise click.UsageError("--prompt-bars needs --prompt: name the file to continue")
    config = take(SampleConfig, values)
    from shards.codec import Codec
    from shards.render.song_file import check_song_files, summary, write_song
    from trainer.device import choose_device
    from trainer.generation.generate import generate
    from trainer.generation.instruments import parse_instruments
    from trainer.run.folder import load_model, open_run

    run = open_run(run_path)
    files = _files(outs, run, config)
    check_song_files(
        [path for paths in files for path in paths], soundfont=soundfont, overwrite=overwrite
    )
    if config.instruments:
        parse_instruments(config.instruments, run.vocabulary)  # refuses typos, before loading
    codec = Codec(run.vocabulary)
    prompt = _read_prompt(prompt_path, run, codec, prompt_bars) if prompt_path else None
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
    with Outputs() as outputs:
        for encoded, paths in zip(songs, files, strict=True):
            song = codec.decode(encoded)
            for path in paths:
                if outputs.write(
                    path,
                    lambda path, song=song: write_song(
                        song, path, run.vocabulary, title=path.stem, soundfont=soundfont
                    ),
                ):
                    click.echo(f"{visible(path)}: {summary(song, run.vocabulary)}")


def _read_prompt(path: Path, run: "Run", codec: "Codec", bars: int | None) -> "Prompt":
    from trainer.generation.prompt import Prompt, encode_midi

    song = encode_midi(path, run.vocabulary, run.dataset_settings)
    if run.dataset_settings is None:
        print_note(
            f"{run.path} was made by a version that did not keep the settings of its dataset: the "
            "prompt was encoded with the defaults of the pipeline"
        )
    return Prompt.from_song(song, codec, bars)


def _files(outs: tuple[Path, ...], run: "Run", config: SampleConfig) -> list[list[Path]]:
    """The files of each song. Several songs, and those in the run folder, are named by seed."""
    if not outs:
        samples = run.path / "samples"
        samples.mkdir(exist_ok=True)
        outs = (samples / "seed.mid",)
    elif config.count == 1:
        return [[*outs]]
    seeds = range(config.seed, config.seed + config.count)
    return [[out.with_stem(f"{out.stem}-{seed}") for out in outs] for seed in seeds]
