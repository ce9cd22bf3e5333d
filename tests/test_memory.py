"""Commands that do not get the memory they need end in one line that says so."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from shards.console import Commands
from shards.errors import ShardError

ROOT = Path(__file__).parent.parent


def raise_from(error: Exception, cause: Exception) -> None:
    raise error from cause


ERRORS = {
    "Python's own": lambda: raise_from(MemoryError(), ValueError("x")),
    "a thread": lambda: raise_from(RuntimeError("can't start new thread"), ValueError("x")),
    "torch": lambda: raise_from(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), ValueError("x")
    ),
    "a library that hides the cause": lambda: raise_from(
        OSError("Could not find libllvmlite.so"), OSError("x.so: failed to map segment")
    ),
    "a dataset that cannot be mapped": lambda: raise_from(
        ShardError("index.arrow is damaged (Cannot allocate memory)"), OSError("x")
    ),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_a_lack_of_memory_is_one_line_whatever_library_met_it(kind):
    group = click.command(cls=Commands)(lambda: None)
    group.add_command(click.Command("work", callback=ERRORS[kind]))
    result = CliRunner().invoke(group, ["work"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: there is not enough memory")
    assert len(result.stderr.splitlines()) == 1


def test_another_error_keeps_its_traceback():
    group = click.command(cls=Commands)(lambda: None)
    group.add_command(click.Command("work", callback=lambda: raise_from(KeyError(1), OSError(2))))
    assert isinstance(CliRunner().invoke(group, ["work"]).exception, KeyError)


def run_with_address_space(package: str, limit: int) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", package, "settings"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # each thread takes address space
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="others do not limit address space")


@LINUX
@pytest.mark.parametrize("megabytes", [60, 100, 200, 400, 1000])
@pytest.mark.parametrize("package", ["pipeline", "trainer"])
def test_libraries_that_do_not_fit_into_memory_are_one_line(package, megabytes):
    # 100: OpenBLAS prints and exits; 400: C++ aborts while torch loads, on some machines at 200.
    done = run_with_address_space(package, megabytes << 20)
    assert done.returncode == 1
    assert "Error: there is not enough memory to load the libraries" in done.stderr
    assert "1,048,576 kB are needed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@LINUX
@pytest.mark.parametrize("package", ["pipeline", "trainer"])
def test_the_least_address_space_that_is_accepted_is_enough(package):
    done = run_with_address_space(package, 1 << 30)
    assert (done.returncode, done.stderr) == (0, "")
