"""Which package and which room may import which: pipeline -> shards <- trainer, and no circles."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "shards": {"pipeline", "trainer", "torch", "numba", "pebble"},
    "pipeline": {"trainer", "torch"},
    "trainer": {"pipeline", "numba", "mido", "pebble"},
}
ROOMS = {
    "pipeline": [
        "numba_cache",
        "midi",
        "sources",
        "clean",
        "duplicates",
        "config",
        "demo",
        "report",
        "process_file",
        "running",
        "browse",
        "cli",
    ],
    "trainer": [
        "config",
        "presets",
        "device",
        "cuda_graph",
        "plot_style",
        "data",
        "sampler",
        "model",
        "run",
        "generation",
        "training",
        "evaluation",
        "judging",
        "play",
        "cli",
    ],
}
"""The files and folders of a package, lowest first: each may import only those before it."""


def imported_modules(path: Path) -> Iterator[str]:
    """Full names of everything a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_file_imports_a_forbidden_package(package):
    crossings = {
        str(path.relative_to(ROOT)): {name.split(".")[0] for name in imported_modules(path)}
        & FORBIDDEN[package]
        for path in files_of(package)
    }
    assert {path: names for path, names in crossings.items() if names} == {}


@pytest.mark.parametrize("package", ROOMS)
def test_no_room_imports_one_above_it(package):
    order = {room: floor for floor, room in enumerate(ROOMS[package])}
    upwards = set()
    for path in files_of(package):
        room = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if room in ("__init__", "__main__"):
            continue
        assert room in order, f"{path} is in no room: add it to ROOMS"
        for module in imported_modules(path):
            target = room_of(module) if module.startswith(f"{package}.") else room
            if target in order and order[target] > order[room]:
                upwards.add(f"{path.relative_to(ROOT)} -> {module}")
    assert upwards == set()


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_files_import_each_other_in_a_circle(package):
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files_of(package)
    }
    graph = {
        module: {name for name in imported_modules(path) if name in modules} - {module}
        for module, path in modules.items()
        if path.name != "__init__.py"  # a package's face only passes names on
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("shards", ["torch", "numba", "mido", "matplotlib"]),
        ("pipeline.cli", ["numba", "torch", "matplotlib", "duckdb", "pebble"]),
        ("pipeline.running.slice_task", ["torch", "matplotlib", "jinja2"]),
        ("trainer.cli", ["torch", "matplotlib", "duckdb"]),
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
