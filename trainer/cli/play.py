"""`trainer play`: a page on this machine to write music with."""

import os
from pathlib import Path

import click

from shards.console import page_options
from trainer.cli.options import PATH, sampling_device_option


@click.command(name="play")
@click.argument("run_path", metavar="RUN", type=PATH)
@page_options(port=8001)
@click.option(
    "--soundfont",
    type=PATH,
    help="An .sf2 or .sf3 file to play with.  [what Debian installs; without, simple oscillators]",
)
@click.option(
    "--save", type=PATH, help="A folder that gets every take as a .mid file.  [none is kept]"
)
@sampling_device_option
def play_command(
    run_path: Path,
    port: int,
    open_page: bool,
    soundfont: Path | None,
    save: Path | None,
    device: str | None,
) -> None:
    """Serve a page to write music with the best checkpoint of RUN, and hear it while it is written.

    Choose a band and a length and press Write; continue a take, undo, write several side by side,
    take them home as .mid or .wav. The server answers this machine only, to whoever has the
    access token in the printed address; it needs no network, and writes nothing to disk but what
    --save asks for. Ctrl-C ends it.

    \b
    Example:
        trainer play runs/lakh-small
        trainer play runs/lakh-small --soundfont piano.sf2 --save songs/
    """
    import torch

    from trainer.generation.trained import load
    from trainer.play.server import serve

    if "OMP_NUM_THREADS" not in os.environ:
        # The browser that plays and draws needs cores, too: on two busy ones, two threads of torch
        # that wait for each other write 2 tokens/s with small, one thread 29.
        torch.set_num_threads(max(torch.get_num_threads() // 2, 1))
    server = serve(load(run_path, device or "cpu"), port, soundfont, save)
    server.serve_until_stopped(open_page=open_page)
