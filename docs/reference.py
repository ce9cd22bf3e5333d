"""Pages of the site that are generated: commands, settings, columns, benchmark results.

mkdocs runs this file as a hook (`on_files`). `pages()` is what it adds; the tests read it too.
"""

import dataclasses
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from pipeline.cli import cli as pipeline_cli  # noqa: E402 - the checkout, not an installed copy
from pipeline.config import DataSettings  # noqa: E402
from pipeline.demo import DemoSettings  # noqa: E402
from pipeline.running.pool_settings import PoolSettings  # noqa: E402
from shards import layout, settings  # noqa: E402
from trainer.cli import cli as trainer_cli  # noqa: E402
from trainer.config import FROM_VOCABULARY, Config, ModelConfig, TrainConfig  # noqa: E402
from trainer.generation.settings import SampleConfig  # noqa: E402
from trainer.judging.settings import JudgeConfig  # noqa: E402
from trainer.presets import PRESETS  # noqa: E402


def pages() -> dict[str, str]:
    """Every generated page: its path in the site -> its Markdown."""
    results = {
        str(path.relative_to(ROOT)): path.read_text()
        for path in sorted((ROOT / "benchmarks").rglob("*results.md"))
    }
    return results | {
        "pipeline-commands.md": commands_page(pipeline_cli, "pipeline"),
        "trainer-commands.md": commands_page(trainer_cli, "trainer"),
        "settings.md": settings_page(),
        "columns.md": columns_page(),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text().replace("](docs/", "]("),
    }


def commands_page(group: click.Group, program: str) -> str:
    """A section for each command: usage, help, example, and a table of its options."""
    head = [f"# {program} commands", *_help(group)]
    for name, command in group.commands.items():
        context = click.Context(command, info_name=f"{program} {name}")
        usage = " ".join([f"{program} {name}", *command.collect_usage_pieces(context)])
        head += [f"## {program} {name}", f"```text\n{usage}\n```", *_help(command)]
        options = [option for option in command.params if isinstance(option, click.Option)]
        head.append(_table(("option", "default", "meaning"), map(_option_row, options)))
    return "\n\n".join(head) + "\n"


def _help(command: click.Command) -> Iterator[str]:
    """The paragraphs of a help text; those marked as ready-made (\\b) become code."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if not paragraph.startswith("\b"):
            yield _escape(paragraph)
            continue
        title, *lines = paragraph.removeprefix("\b").strip("\n").splitlines()
        yield title
        yield "```sh\n" + inspect.cleandoc("\n".join(lines)) + "\n```"


def _option_row(option: click.Option) -> tuple[str, str, str]:
    names = ", ".join(option.opts) + "".join(f" / {name}" for name in option.secondary_opts)
    if isinstance(option.type, click.Choice):
        names += " " + "|".join(map(str, option.type.choices))
    elif not option.is_flag:
        names += " " + option.make_metavar(click.Context(click.Command("x")))
    default = option.default if option.show_default else None
    return f"`{names}`", "" if default is None else f"`{default}`", option.help or ""


def settings_page() -> str:
    """Every settings class, one table each, in the order a user meets them."""
    parts = [
        "# Settings",
        "Settings of `pipeline` are options of its commands, with dashes for underscores: "
        "`--steps-per-beat 24`. Settings of `trainer fit` are given by name: "
        "`--set layers=8`; `trainer settings` prints them. Both take them from a TOML file too, "
        "`--config FILE.toml`, which `settings --toml` prints. An unknown name or a value out of "
        "bounds is an error.",
        "## A dataset",
        "Options of `pipeline run`; saved in the dataset's `dataset.json`.",
    ]
    for stage in dataclasses.fields(DataSettings):
        parts += _settings_section(stage.name, stage.default_factory)
    parts += ["## A pipeline run", "Options of `pipeline run` that change no byte of the dataset."]
    parts += _settings_section("workers", PoolSettings)
    parts += _settings_section("demo corpus: pipeline demo", DemoSettings)
    parts += ["## A training run", "`--set NAME=VALUE` of `trainer fit`; saved in `config.json`."]
    parts += _settings_section("model", ModelConfig) + _settings_section("training", TrainConfig)
    parts += ["### presets", "Where a preset differs from the default:", _preset_table()]
    parts += ["## Samples", "Options of `trainer generate` and `trainer judge`."]
    parts += _settings_section("trainer generate", SampleConfig)
    usual = settings.fields_of(SampleConfig)
    own = [row for row in settings.fields_of(JudgeConfig) if row not in usual]
    parts += ["### trainer judge", "The same, but:", _settings_table(own)]
    return "\n\n".join(parts) + "\n"


def _settings_section(title: str, cls: Any) -> list[str]:
    rows = [row for row in settings.fields_of(cls) if row.name not in FROM_VOCABULARY]
    return [f"### {title}", _escape(inspect.cleandoc(cls.__doc__)), _settings_table(rows)]


def _settings_table(rows: Iterable[settings.Description]) -> str:
    cells = [(f"`{row.name}`", f"`{row.default}`", row.allowed, row.help) for row in rows]
    return _table(("setting", "default", "allowed", "meaning"), cells)


def _preset_table() -> str:
    columns = [settings.fields_of(config) for config in (Config(), *PRESETS.values())]
    rows = [
        (f"`{one.name}`", *(f"`{row.default}`" for row in (one, *others)))
        for one, *others in zip(*columns, strict=True)
        if any(other.default != one.default for other in others)
    ]
    return _table(("setting", "default", *PRESETS), rows)


def columns_page() -> str:
    """The columns of index.arrow and ledger.arrow, as shards/layout.py describes them."""
    parts = [
        "# Index and ledger columns",
        "`index.arrow` has one row per kept song, `ledger.arrow` one row per input file. "
        "`--where` of `trainer fit`, `trainer evaluate`, `trainer judge` and `pipeline what-if` "
        "takes an SQL condition over the columns of the index.",
    ]
    for name, columns in (("index", layout.INDEX_COLUMNS), ("ledger", layout.LEDGER_COLUMNS)):
        rows = [(f"`{column}`", str(kind), help) for column, (kind, help) in columns.items()]
        parts += [f"## {name}.arrow", _table(("column", "type", "meaning"), rows)]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return _escape(" ".join(text.split())).replace("|", "\\|")


def _escape(text: str) -> str:
    """Keep `<pad>` and the like from being read as HTML, outside of code."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def on_files(files: Any, config: Any) -> Any:
    """mkdocs: add the generated pages."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs: links that are right in the repository become right in the site."""
    return markdown.replace("](../benchmarks/", "](benchmarks/")
