"""`trainer generate`: write songs with a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shards.console import print_note, progress_bar
from shards.errors import SettingError
from shards.outputs import Outputs, overwrite_option
from shards.settings import options_for, take
from shards.text import visible
from trainer.cli.options import PATH, sampling_device_option
from trainer.generation.settings import SampleConfig

if TYPE_CHECKING:
    from trainer.run.folder import Run


KEPT = ("bars", "seconds", "ending", "tempo", "meter", "changes")
"""Settings that would contradict a prompt of which bars or parts are written anew."""


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
@click.option("--prompt", type=PATH, help="A .mid file to continue.")
@click.option("--prompt-bars", type=click.IntRange(min=1), help="Only its first bars.  [all]")
@click.option("--infill", metavar="BARS", help="Write these bars of the prompt anew, as 9-16.")
@click.option("--parts", help="With --infill: only these instruments, as piano,bass.  [all]")
@click.option(
    "--accompany", metavar="PARTS", help="Write these parts to those of the prompt, as bass,drums."
)
@options_for(SampleConfig)
@sampling_device_option
def generate_command(
    run_path: Path,
    outs: tuple[Path, ...],
    overwrite: bool,
    soundfont: Path | None,
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
        trainer generate runs/lakh-tiny --tempo 96 --meter 3/4 --key "D minor" --bars 48 --ending
        trainer generate runs/lakh-tiny -o new.mid --prompt song.mid --infill 9-16
        trainer generate runs/lakh-tiny -o band.mid --prompt song.mid --accompany bass,drums
    """
    config = take(SampleConfig, values)
    from shards.codec import Codec
    from shards.render.song_file import check_song_files, summary, write_song
    from trainer.device import choose_device
    from trainer.generation.task import Request, Task
    from trainer.run.folder import load_model, open_run

    request = take(Request, values)
    for name in KEPT if request.rewrites else ():
        if getattr(config, name):
            raise SettingError(
                f"--{name} cannot be asked with --infill or --accompany: what is written keeps the "
                "bars, the meter and the tempo of the prompt"
            )
    run = open_run(run_path)
    files = _files(outs, run, config)
    check_song_files(
        [path for paths in files for path in paths], soundfont=soundfont, overwrite=overwrite
    )
    task, codec = Task(run, config, request), Codec(run.vocabulary)
    if request.prompt and run.dataset_settings is None:
        print_note(
            f"{run.path} was made by a version that did not keep the settings of its dataset: the "
            "prompt was encoded with the defaults of the pipeline"
        )
    model = load_model(run, choose_device(device or "cpu"))
    with progress_bar(total=task.goal * config.count, unit=task.unit) as bar:
        songs = task.write(model, lambda written: bar.update(written - bar.n))
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
