"""Every setting of a run: the model's, the training's, and those the dataset dictates.

All are saved as config.json in the run folder; `--set name=value` takes the name of any field of
`ModelConfig` or `TrainConfig` that the dataset does not dictate.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shards import settings
from shards.errors import SettingError
from shards.settings import setting
from shards.vocabulary import Vocabulary

KNN_BACKENDS = ("topk", "dense", "faiss", "hnsw")
RTF_MODES = ("off", "shift", "window", "strict")

FROM_VOCABULARY = ("vocab_size", "instrument_classes", "max_bar_steps")
"""Fields of ModelConfig that come with the dataset."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a Transformer-XL."""

    vocab_size: int = setting(512, "Tokens in the vocabulary; given by the dataset.", low=1)
    instrument_classes: int = setting(175, "Instrument classes; given by the dataset.", low=1)
    max_bar_steps: int = setting(192, "Steps in the longest bar; given by the dataset.", low=1)
    layers: int = setting(6, "Blocks of attention and feed-forward net.", low=1)
    d_model: int = setting(384, "Width of the residual stream; a multiple of heads.", low=2)
    heads: int = setting(6, "Attention heads; 64 a head is what attention kernels like.", low=1)
    mlp_ratio: int = setting(4, "Width of the feed-forward net, in widths of the model.", low=1)
    memory: int = setting(
        256,
        "Tokens of the past that each layer keeps. As many as a block holds is what the paper "
        "trains with; 0 switches the memory off.",
        low=0,
    )
    window: int | None = setting(
        None,
        "Tokens that a position sees, itself included; none: the whole memory and what of the "
        "block lies before it.",
        low=1,
    )
    position_encoding: str = setting(
        "rope",
        "How distance is told: rope rotates queries and keys and keeps the fast attention "
        "kernels; txl is the Transformer-XL's own scheme; t5 learns a bias for each distance.",
        choices=("rope", "txl", "t5"),
    )
    qk_norm: bool = setting(
        False,
        "Bring queries and keys of each head to length 1 and learn how sharp it looks; the presets "
        "do: 0.27 nats lower after 100 steps.",
    )
    activation: str = setting(
        "gelu", "Of the feed-forward net; relu2 is the square of ReLU.", choices=("gelu", "relu2")
    )
    zero_init: bool = setting(
        False, "Start the projections back into the residual stream at zero: layers fade in."
    )
    tied: bool = setting(
        False, "Let the token head share its matrix with the token embedding; saves memory."
    )
    instrument_head: str = setting(
        "plain",
        "What the instrument head sees: plain, what the token head sees; conditional, also the "
        "token whose instrument it names: after 100 steps 0.08 nats higher, after 300 0.12 lower, "
        "after 1,500 0.31 lower. The presets take it.",
        choices=("plain", "conditional"),
    )
    velocity: str = setting(
        "none",
        "How loud notes are: none, the model does not know; embed, it is told of past notes; "
        "predict, a third head also says it of the next.",
        choices=("none", "embed", "predict"),
    )
    knn: bool = setting(
        False,
        "Keep what leaves the memory, while the song plays, and let one layer look it up. Off: "
        "it has not lowered the loss on real songs yet.",
    )
    knn_layer: int | None = setting(
        None, "Which layer looks up, counted from 0.  none: the second to last.", low=0
    )
    knn_k: int = setting(32, "Neighbours of a query; more helped nobody (Wu et al. 2022).", low=1)
    knn_backend: str = setting(
        "topk",
        "How neighbours are found: topk and faiss exactly, hnsw nearly, dense takes all keys. "
        "At 8,192 keys topk adds 15 % to a step, dense 58 %; faiss and hnsw need the extra knn.",
        choices=KNN_BACKENDS,
    )
    knn_capacity: int | None = setting(
        None,
        "Tokens of a song that a lane keeps, beyond which the oldest go.  none: as many as the "
        "dataset's longest song has.",
        low=1,
    )
    rtf: str = setting(
        "off",
        "Reverse teacher forcing, in training: off; shift, attention does not see its own "
        "place; window, nor its own window of tokens; strict, nor are some inputs there at all.",
        choices=RTF_MODES,
    )
    max_bars: int = setting(
        512,
        "Bars that are told apart; all later ones count as the last. Most songs have 60-200.",
        low=1,
    )
    dropout: float = setting(
        0.1, "Share dropped of embeddings, attention weights and both outputs of a layer.", low=0
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        settings.check(self)
        if self.d_model % (2 * self.heads):
            raise SettingError(
                f"d_model is {self.d_model}; expected a multiple of twice heads = {2 * self.heads}"
            )
        if not self.dropout < 1:
            raise SettingError(f"dropout is {self.dropout}; expected less than 1")
        if self.knn_layer is not None and self.knn_layer >= self.layers:
            raise SettingError(
                f"knn_layer is {self.knn_layer}; expected less than layers = {self.layers}"
            )

    @property
    def knn_at(self) -> int | None:
        """The layer that looks up; None where none does."""
        if not self.knn:
            return None
        return max(self.layers - 2, 0) if self.knn_layer is None else self.knn_layer

    def for_vocabulary(self, vocabulary: Vocabulary) -> "ModelConfig":
        """The same model for another dataset."""
        return dataclasses.replace(
            self,
            vocab_size=len(vocabulary),
            instrument_classes=vocabulary.instruments,
            max_bar_steps=vocabulary.max_bar_steps,
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How it is trained, and how often it is looked at."""

    steps: int = setting(100_000, "Training steps. The learning rate falls until the last.", low=1)
    batch_size: int = setting(16, "Lanes: songs played side by side.", low=1)
    accumulate: int = setting(
        1,
        "Groups that the lanes are worked off in, one after the other, where all at once need "
        "too much memory; divides batch. The step stays the same.",
        low=1,
    )
    block_size: int = setting(256, "Tokens that a lane plays in one step.", low=1)
    mode: str = setting(
        "join",
        "What follows a song's last token: join, the next song at once; pad, nothing until the "
        "next block; crop, a song's last block is left out where it is not full.",
        choices=("join", "pad", "crop"),
    )
    optimizer: str = setting(
        "adamw",
        "adamw for all, or muon for the matrices inside the layers and adamw for the rest.",
        choices=("adamw", "muon"),
    )
    lr: float = setting(
        1e-3, "Highest learning rate; about 1 / sqrt(width) times 0.02 suits AdamW.", low=0
    )
    gate_lr: float = setting(
        0.02,
        "Highest learning rate of the kNN memory's gates: a number moves by about the rate a step, "
        "and a gate's ends lie several units apart, whatever the width.",
        low=0,
    )
    final_lr_ratio: float = setting(0.1, "Learning rate at the last step, as a share.", low=0)
    warmup_steps: int = setting(500, "Steps over which the learning rate rises.", low=0)
    weight_decay: float = setting(0.1, "Pull on matrices towards zero, times learning rate.", low=0)
    beta2: float = setting(
        0.98,
        "Memory of AdamW's second moment; 0.999 is too slow for runs of thousands of steps.",
        low=0,
    )
    rtf_probability: float = setting(
        0.5, "Share of the lanes, drawn anew in each step, that rtf is applied to.", low=0
    )
    rtf_max_window: int = setting(
        8, "Longest window of rtf window; rtf strict hides at least one input in so many.", low=1
    )
    grad_clip: float = setting(1.0, "Longest gradient that is let through, in the 2-norm.", low=0)
    precision: str = setting(
        "auto",
        "Of the matrix products: fp32, bf16, or auto, which is bf16 on a GPU that has it.",
        choices=("auto", "fp32", "bf16"),
    )
    compile: bool = setting(False, "Compile the model; worth its minutes in runs of hours.")
    where: str | None = setting(
        None,
        "Train and validate only on songs for which this SQL condition over the index's columns "
        "is true, as in --where \"instruments >= 3 and meter = '4/4'\".",
    )
    seed: int = setting(0, "Of weights, order of songs and dropout; each keyed by it.", low=0)
    log_every: int = setting(10, "Steps between lines of metrics.jsonl.", low=1)
    evaluate_every: int = setting(1000, "Steps between validations.", low=1)
    evaluate_batches: int | None = setting(
        None,
        "Batches in each validation; none: the whole split. The last is always whole.",
        low=1,
    )
    patience: int | None = setting(
        None, "Stop after so many validations in a row without a new best; none: never.", low=1
    )
    sample_bars: int = setting(
        8, "Bars of a song to write at each validation, drawn for TensorBoard; 0: none.", low=0
    )
    checkpoint_every: int = setting(1000, "Steps between checkpoints.", low=1)
    keep_checkpoints: int = setting(2, "Checkpoints kept, besides the best.", low=1)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        settings.check(self)
        if self.batch_size % self.accumulate:
            raise SettingError(
                f"accumulate is {self.accumulate}; expected a divisor of batch_size = {self.batch_size}"
            )
        for name, most in (("final_lr_ratio", 1.0), ("beta2", 0.999999), ("rtf_probability", 1.0)):
            if not getattr(self, name) <= most:
                raise SettingError(f"{name} is {getattr(self, name)}; expected at most {most}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A run's settings."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)


def for_dataset(config: Config, dataset: Any) -> Config:
    """The same settings, with what a dataset dictates or is to decide."""
    model = config.model.for_vocabulary(dataset.vocabulary)
    if model.knn and model.knn_capacity is None:
        longest = int(max(dataset.index["tokens"].to_numpy(), default=1))
        model = dataclasses.replace(model, knn_capacity=longest)
    return dataclasses.replace(config, model=model)


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Apply `name=value` texts, each to the part that has a field of that name.

    Raises:
        SettingError: a text without `=`, an unknown name (with the nearest), a setting that the
            dataset dictates, or a value that is not allowed.
    """
    model, train = settings.to_json(config.model), settings.to_json(config.train)
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f"--set {text}: expected name=value")
        if name in FROM_VOCABULARY:
            raise SettingError(f"--set {text}: {name} is given by the dataset")
        part, cls = (model, ModelConfig) if name in model else (train, TrainConfig)
        if name not in part:
            near = difflib.get_close_matches(name, [*model, *train], n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join([*model, *train])}"
            raise SettingError(f"--set {text}: unknown setting {name!r}; {hint}")
        part[name] = settings.parse(cls, name, value, where="--set")
    return Config(
        model=settings.from_json(ModelConfig, model, where="--set"),
        train=settings.from_json(TrainConfig, train, where="--set"),
    )
