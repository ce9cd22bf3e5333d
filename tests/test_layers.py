"""The arrows of the house: pipeline -> shards <- trainer, and nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "shards": {"pipeline", "trainer", "torch", "numba", "pebble"},
    "pipeline": {"trainer", "torch"},
    "trainer": {"pipeline", "numba", "mido", "pebble"},
}


def imported_packages(path: Path) -> set[str]:
    """First names of everything a file imports, at its top or inside a function."""
    packages = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            packages.add(node.module.split(".")[0])
    return packages


def files_of(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_file_imports_against_the_arrows(package):
    crossings = {
        str(path.relative_to(ROOT)): imported_packages(path) & FORBIDDEN[package]
        for path in files_of(package)
    }
    assert {path: names for path, names in crossings.items() if names} == {}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("shards", ["torch", "numba", "mido", "matplotlib"]),
        ("pipeline.running.slice_task", ["torch", "matplotlib"]),
        ("trainer.model", ["numba", "pebble"]),
    ],
)
def test_importing_a_module_does_not_load(module, absent):
    loaded = f"[name for name in {absent} if name in sys.modules]"
    code = f"import sys, {module}; print({loaded})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
