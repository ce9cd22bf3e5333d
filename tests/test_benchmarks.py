import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import ROOMS, Room, cli
from benchmarks.ablations.compare import difference


def commands(group, path=()):
    """Every command that measures, with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_every_benchmark_is_explained_by_an_example_that_it_accepts():
    found = list(commands(cli))
    assert len(found) > sum(map(len, ROOMS.values()))
    for words, command in found:
        result = CliRunner().invoke(cli, [*words, "--help"], prog_name="python -m benchmarks")
        assert result.exit_code == 0, result.output
        assert command.help
        example = result.output.split("Example:\n")[1]
        assert example.startswith(f"    python -m benchmarks {' '.join(words)}")


def test_every_room_lists_its_benchmarks():
    for room, names in ROOMS.items():
        help_text = CliRunner().invoke(cli, [room, "--help"]).output
        assert all(name in help_text for name in names)
        assert "Example:" in help_text


def test_help_imports_no_benchmark():
    code = """if True:
        import sys
        from benchmarks.__main__ import cli
        cli(["speed", "--help"], standalone_mode=False)
        assert not {"numba", "torch", "benchmarks.speed.read_files"} & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(("name", "code"), [("symusic", 1), ("a_bug", None)])
def test_a_missing_library_is_one_line_that_says_what_to_install(name, code):
    room = Room("speed")

    @click.command()
    def measure():
        raise ModuleNotFoundError(name=name)

    room.get_command = lambda ctx, cmd_name: measure
    result = CliRunner().invoke(room, ["read-files"])
    if code is None:
        assert isinstance(result.exception, ModuleNotFoundError)
    else:
        assert result.exit_code == code
        expected = "pip install -r benchmarks/requirements-bench.txt"
        assert result.output == f"Error: {name} is not installed: {expected}\n"


def test_the_corpus_is_an_argument_or_a_variable(tmp_path, monkeypatch):
    arguments = ["correctness", "hostile-files", "mutated", "--files", "2"]
    (tmp_path / "a.mid").write_bytes(b"MThd")
    assert CliRunner().invoke(cli, arguments).exit_code == 2
    monkeypatch.setenv("LAKHXL_CORPUS", str(tmp_path))
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "2 mutants of 1 files" in result.output


@pytest.mark.parametrize(
    ("losses", "claim"),
    [
        ((1.9, 2.1, 2.0), "none"),
        ((1.5, 1.7, 1.6), "lower"),
        ((2.5, 2.7, 2.6), "higher"),
        ((1.9, 1.5, 2.2), "none"),
        ((1.5, 1.7), "too few seeds"),
        ((), "no common seed"),
    ],
)
def test_a_gain_is_claimed_beyond_twice_the_spread_at_three_seeds(losses, claim):
    first = {seed: {"loss": 2.0 + 0.1 * seed - 0.2 * (seed == 2)} for seed in range(3)}
    rows = {seed: {"loss": loss} for seed, loss in enumerate(losses)}
    assert difference(first, rows)[1] == claim
