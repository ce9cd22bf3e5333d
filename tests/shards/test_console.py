import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from shards.console import Commands, progress_bar


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_stopped_cleans_up_and_ends_with_130(number, tmp_path):
    @click.group(cls=Commands)
    def group() -> None: ...

    @group.command()
    def wait() -> None:
        try:
            signal.raise_signal(number)
        finally:
            (tmp_path / "cleaned").touch()

    # under `nohup make test &`, the tests ignore SIGINT and SIGHUP
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)
    try:
        result = CliRunner().invoke(group, ["wait"])
        assert signal.getsignal(number) == usual
    finally:
        signal.signal(number, before)
    assert (result.exit_code, result.stderr) == (130, "stopped\n")
    assert (tmp_path / "cleaned").exists()


def test_help_that_cannot_be_written_is_one_line():
    code = "from trainer.cli import cli; cli()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "--help"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


@pytest.mark.parametrize("package", ["pipeline", "trainer"])
def test_ctrl_c_while_libraries_are_loaded_is_no_traceback(package):
    code = f"""if True:
        import sys
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "{package}.cli":
                    raise KeyboardInterrupt
        sys.meta_path.insert(0, Finder())
        from {package}.__main__ import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_bar_whose_making_was_interrupted_is_closed_without_an_error():
    kind = type(progress_bar(disable=True))
    bar = kind.__new__(kind)
    bar.disable = False  # tqdm sets it before the rest
    bar.close()
    bar.__del__()
