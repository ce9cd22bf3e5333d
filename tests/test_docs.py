"""The documentation: the reference is complete, links lead somewhere, examples are real."""

import importlib.util
import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parent.parent


def load(path: Path):
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load(ROOT / "docs/reference.py")
GROUPS = {"pipeline": reference.pipeline_cli, "trainer": reference.trainer_cli}
GENERATED = reference.pages()
WRITTEN = {
    path.relative_to(ROOT): path.read_text()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
}
PAGES = pytest.mark.parametrize("page", WRITTEN, ids=str)


# --- the generated reference


@pytest.mark.parametrize("program", GROUPS)
def test_every_command_and_option_is_in_the_reference(program):
    page = GENERATED[f"{program}-commands.md"]
    for name, command in GROUPS[program].commands.items():
        section = page.split(f"\n## {program} {name}\n")[1].split("\n## ")[0]
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"{option.opts[-1]} " in section or f"{option.opts[-1]}`" in section
                assert option.help or option.name == "split", f"{name} {option.opts}"


def test_every_setting_is_in_the_reference():
    from shards.settings import to_json
    from trainer.config import FROM_VOCABULARY, Config

    data, run = to_json(reference.DataSettings()), to_json(Config())
    samples = to_json(reference.SampleConfig())
    groups = [*data.values(), *run.values(), samples, to_json(reference.PoolSettings())]
    names = {name for group in groups for name in group} - set(FROM_VOCABULARY)
    rows = set(re.findall(r"^\| `(\w+)` \|", GENERATED["settings.md"], re.M))
    assert names - rows == set()
    assert len(names) > 80


@pytest.mark.parametrize("table", ["index", "ledger"])
def test_every_column_is_in_the_reference(table):
    from shards import layout

    schema = {"index": layout.INDEX_SCHEMA, "ledger": layout.LEDGER_SCHEMA}[table]
    section = GENERATED["columns.md"].split(f"## {table}.arrow")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == schema.names


def test_every_room_is_in_the_architecture_page():
    page = WRITTEN[Path("docs/architecture.md")]
    for package in ("pipeline", "trainer"):
        rooms = [path.parent.name for path in (ROOT / package).glob("*/__init__.py")]
        assert [room for room in rooms if f"`{room}`" not in page] == []


# --- links


def anchors(markdown: str) -> set[str]:
    """Ids of the headings of a page, as both GitHub and the site make them."""
    prose = re.sub(r"^( *)```.*?^\1```", "", markdown, flags=re.M | re.S)
    titles = re.findall(r"^#+ +(.+)$", prose, re.M)
    slugs = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
    return slugs | {name.replace(".", "") for name in re.findall(r"^::: ([\w.]+)", prose, re.M)}


def target_text(path: Path) -> str | None:
    """The text of a page, written or generated; "" for any other file; None: no such file."""
    if path in WRITTEN:
        return WRITTEN[path]
    if path.is_relative_to("docs") and str(path.relative_to("docs")) in GENERATED:
        return GENERATED[str(path.relative_to("docs"))]
    if not (ROOT / path).exists():
        return None
    return (ROOT / path).read_text() if path.suffix == ".md" else ""


@PAGES
def test_every_link_and_picture_is_there(page):
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", WRITTEN[page], flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        path = (ROOT / page.parent / file).resolve().relative_to(ROOT) if file else page
        text = target_text(path)
        assert text is not None, f"{link}: there is no {path}"
        assert not anchor or anchor in anchors(text), f"{link}: {path} has no such heading"


def test_the_readme_is_short():
    assert len(WRITTEN[Path("README.md")].splitlines()) <= 120


# --- examples


def commands(markdown: str) -> list[list[str]]:
    """The lines of code blocks, and code in the text, that call `pipeline` or `trainer`."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```|((?:^    .*\n)+)", markdown, re.M | re.S)
    lines = "\n".join(fenced or indented for fenced, indented in blocks).replace("\\\n", " ")
    lines += "\n" + "\n".join(re.findall(r"(?<!`)`([^`\n]+)`", markdown))
    found = re.findall(r"^(?:.* -m -- )? *((?:pipeline|trainer) [a-z].*)$", lines, re.M)
    return [shlex.split(line, comments=True) for line in found if "…" not in line]


def test_examples_are_found():
    text = "`trainer fit X`\n\n    pipeline run a \\\n        --out b # why\n\n"
    text += "```sh\npipeline x\n```\n"
    assert [" ".join(words) for words in commands(text)] == [
        "pipeline run a --out b",
        "pipeline x",
        "trainer fit X",
    ]


@PAGES
def test_examples_name_commands_and_options_that_exist(page):
    if page.name == "log.md":
        pytest.skip("the log shows commands as they were")
    for program, name, *words in commands(WRITTEN[page]):
        assert name in GROUPS[program].commands, f"{program} {name}"
        command = GROUPS[program].commands[name]
        options = {flag: option for option in command.params for flag in option.opts}
        options |= {flag: option for option in command.params for flag in option.secondary_opts}
        for flag, value in zip(words, [*words, ""][1:], strict=True):
            if not flag.startswith("-") or flag == "--help":
                continue
            assert flag in options, f"{program} {name} has no {flag}"
            if isinstance(options[flag].type, click.Choice):
                assert value in options[flag].type.choices, f"{program} {name} {flag} {value}"


def test_settings_given_by_name_exist():
    known = set(re.findall(r"^\| `(\w+)` \|", GENERATED["settings.md"], re.M))
    for page, text in WRITTEN.items():
        if page.name != "log.md":
            assert set(re.findall(r"--set (\w+)=", text)) - known - {"NAME"} == set(), page


def test_benchmarks_named_in_the_docs_exist():
    from benchmarks.__main__ import ROOMS

    for page, text in WRITTEN.items():
        if page.name != "log.md":
            for room, name in re.findall(r"-m benchmarks ([a-z]+) ([a-z-]+)", text):
                assert name in ROOMS[room], f"{page}: {room} {name}"
            assert re.findall(r"-m benchmarks\..*", text) == []


def test_the_page_on_own_models_runs(tmp_path, monkeypatch):
    trainer_fixtures = load(ROOT / "tests/trainer/conftest.py")
    songs = trainer_fixtures.encode_songs([400] * 6)
    trainer_fixtures.write_dataset(tmp_path / "shards/lakh", songs, ["train"] * 5 + ["valid"])
    monkeypatch.chdir(tmp_path)
    page = WRITTEN[Path("docs/howto/own-model.md")]
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.M | re.S))
    namespace = {}
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "own-model.md", "exec"), namespace)
    assert "6 songs" in printed.getvalue()
    assert re.search(r"step 0: \d+\.\d+ nats per token", printed.getvalue())
    assert namespace["position"] == {"epoch": 1, "step": 0}  # it played the whole epoch


def test_the_reader_page_lists_every_repair():
    from pipeline.midi.events import REPAIRS, TIERS

    rows = [f"| `{code}` | {TIERS[tier]} | {what} |" for code, tier, what in REPAIRS]
    assert "\n".join(rows) in WRITTEN[Path("docs/reader.md")]
