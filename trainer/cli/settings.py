"""`trainer settings`: every setting of a run."""

from dataclasses import dataclass, field

import click

from shards.settings import describe
from shards.settings_file import settings_text
from trainer import presets
from trainer.config import FROM_VOCABULARY, Config, ModelConfig, TrainConfig
from trainer.generation.settings import SampleConfig
from trainer.judging.settings import JudgeConfig


@dataclass(frozen=True)
class _Settings:
    """All settings; the field names are the headings."""

    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    generate: SampleConfig = field(default_factory=SampleConfig)


@click.command(name="settings")
@click.option(
    "--preset", type=click.Choice([*presets.PRESETS]), help="Show this preset's values instead."
)
@click.option(
    "--toml", is_flag=True, help="Print those of `trainer fit` as a file for its --config instead."
)
def settings_command(preset: str | None, toml: bool) -> None:
    """Print every setting, with its default, bounds and reason.

    Settings of the model and of training are changed by `trainer fit --set NAME=VALUE` or its
    --config, settings of sampling by options of `trainer generate` and `trainer judge`.

    \b
    Example:
        trainer settings
        trainer settings --preset small
        trainer settings --preset small --toml > mine.toml
    """
    config = presets.preset(preset) if preset else None
    if toml:
        click.echo(settings_text(vars(config or Config()), without=FROM_VOCABULARY))
        return
    click.echo(describe(_Settings(config.model, config.train) if config else _Settings))
    own, inherited = JudgeConfig(), SampleConfig()
    changed = ", ".join(
        f"{name} = {value}"
        for name, value in vars(own).items()
        if value != getattr(inherited, name)
    )
    click.echo(f"\njudge\n-----\nThe settings of generate, with these defaults: {changed}")
