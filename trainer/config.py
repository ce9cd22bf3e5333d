"""Every setting of a run: those of the model, those of the training, and those the dataset gives.

A run folder keeps them all as config.json. `--set name=value` takes the name of any field of
`ModelConfig` or `TrainConfig`, except those that the dataset gives, and so does a --config file.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shards import settings
from shards.errors import SettingError
from shards.reader import SongSource
from shards.settings import Settings, setting
from shards.settings_file import read_settings
from shards.vocabulary import Vocabulary

KNN_BACKENDS = ("topk", "faiss")
RTF_MODES = ("off", "shift", "window", "strict")
EXPORT_DTYPES = ("float32", "bfloat16")
"""What `trainer export` may store weights as; models compute in the type that users choose."""

MOST_WIDTH, MOST_TOKENS = 2**16, 2**16
"""The widest model and the longest block and memory, beyond any that was trained: a config.json
from elsewhere must not ask for more than that."""
FROM_VOCABULARY = ("vocab_size", "instrument_classes", "max_bar_steps")
"""Fields of ModelConfig that the dataset gives."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """Sizes and options of a Transformer-XL."""

    vocab_size: int = setting(592, "Tokens in the vocabulary; given by the dataset.", low=1)
    instrument_classes: int = setting(189, "Instrument classes; given by the dataset.", low=1)
    max_bar_steps: int = setting(384, "Steps in the longest bar; given by the dataset.", low=1)
    layers: int = setting(
        6, "Layers, each of attention and a feed-forward network.", low=1, high=1024
    )
    d_model: int = setting(
        384, "Width of the residual stream; a multiple of 2 * heads.", low=2, high=MOST_WIDTH
    )
    heads: int = setting(
        6,
        "Attention heads per layer; a GPU's attention kernels are fastest at d_model / heads = "
        "128: on an H100 or H200 they take two thirds of the time of 64.",
        low=1,
        high=1024,
    )
    mlp_ratio: int = setting(
        4, "Hidden width of the feed-forward network / d_model.", low=1, high=64
    )
    memory: int = setting(
        256,
        "Earlier tokens whose keys and values each layer keeps. Equal to block_size by default, "
        "as in the Transformer-XL paper; 0: no memory.",
        low=0,
        high=MOST_TOKENS,
    )
    window: int | None = setting(
        None,
        "Tokens a position may attend to, itself included; none: all earlier tokens in memory "
        "and block.",
        low=1,
    )
    position_encoding: str = setting(
        "rope_music",
        "How attention learns distances: rope_music, rotate queries and keys by tokens, bars and "
        "steps within the bar; rope, by tokens alone; txl, the Transformer-XL's sinusoids; t5, a "
        "learned bias per distance. The first two work with the fast attention kernels; by bars "
        "and steps, a head finds the same beat of another bar or part, whatever lies between.",
        choices=("rope_music", "rope", "txl", "t5"),
    )
    attention: str = setting(
        "auto",
        "How a compiled model attends on a GPU: dense, with a mask of all pairs; flex, "
        "FlexAttention, which skips tiles of 128 x 128 pairs that no song has; auto: flex where "
        "block_size + memory is at least 2,048. flex needs rope_music or rope, no rtf, and "
        "multiples of 128.",
        choices=("auto", "dense", "flex"),
    )
    qk_norm: bool = setting(
        True,
        "Normalize queries and keys to root mean square 1 and learn a scale per head: the loss "
        "is 0.27 nats lower after 100 steps.",
    )
    value_residual: bool = setting(
        True,
        "Mix the first layer's attention values into those of each other layer, by two learned "
        "weights a layer: with rope_music the loss is 5.6 % lower after 250 steps (three seeds).",
    )
    previous_token: bool = setting(
        True,
        "Add embeddings of the token before and of its instrument to each token's input, so that "
        "the first layer already finds where the same two tokens were: the loss is "
        "4.2 % lower after 1,500 steps of micro, in the same time (three seeds).",
    )
    velocity_head: bool = setting(
        True,
        "Embed the velocities of past notes, and predict the next note's with a third head. "
        "Without it all notes of an instrument are equally loud.",
    )
    conditions: bool = setting(
        True,
        "Inputs that say what a song is asked to be: tempo, meter, key, band, length, density, and "
        "what is given to infill or to accompany. On: `trainer generate` can be steered, for 1 % "
        "more time per step. What is not given adds nothing to the model.",
    )
    knn: bool = setting(
        False,
        "Keep keys and values that leave the memory until the song ends, and let one layer "
        "retrieve from them. Off: it has not lowered the loss on real songs yet.",
    )
    knn_layer: int | None = setting(
        None, "Layer that retrieves, counted from 0; none: the second to last.", low=0
    )
    knn_k: int = setting(
        32, "Neighbours per query; more did not help in Wu et al. 2022.", low=1, high=4096
    )
    knn_backend: str = setting(
        "topk",
        "Library that finds the exact nearest neighbours: topk, this package's own, adds 15 % to "
        "a step at 8,192 keys; faiss, a flat index, needs the extra `knn`.",
        choices=KNN_BACKENDS,
    )
    knn_capacity: int | None = setting(
        None,
        "Tokens that the kNN memory keeps per lane; beyond that the oldest are overwritten. "
        "none: as many as the dataset's longest song has.",
        low=1,
        high=2**20,
    )
    rtf: str = setting(
        "off",
        "Reverse teacher forcing, in training only. shift: mask each position's own key; window: "
        "also mask the rest of its window; strict: also replace random inputs by a learned vector.",
        choices=RTF_MODES,
    )
    max_bars: int = setting(
        512,
        "Bar numbers with an embedding of their own; later bars share the last one.",
        low=1,
        high=MOST_TOKENS,
    )
    dropout: float = setting(
        0.1,
        "Dropout of embeddings, and of the output of each attention and feed-forward network. Not "
        "of attention weights: no fast kernel has it.",
        low=0,
        below=1,
    )

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        super().__post_init__()
        if self.d_model % (2 * self.heads):
            raise SettingError(
                f"d_model is {self.d_model}; expected a multiple of twice heads = {2 * self.heads}"
            )
        if self.knn and self.window is not None and self.window <= self.memory:
            raise SettingError(
                f"window is {self.window}; with knn expected more than memory = "
                f"{self.memory}: keys that no query sees any more cannot be stored"
            )
        if self.knn_layer is not None and self.knn_layer >= self.layers:
            raise SettingError(
                f"knn_layer is {self.knn_layer}; expected less than layers = {self.layers}"
            )

    @property
    def retrieving_layer(self) -> int | None:
        """Number of the layer that retrieves from the kNN memory; None without one."""
        if not self.knn:
            return None
        return max(self.layers - 2, 0) if self.knn_layer is None else self.knn_layer

    def for_vocabulary(self, vocabulary: Vocabulary) -> "ModelConfig":
        """The same settings for another vocabulary."""
        return dataclasses.replace(
            self,
            vocab_size=len(vocabulary),
            instrument_classes=vocabulary.instruments,
            max_bar_steps=vocabulary.max_bar_steps,
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """How a model is trained, and how often it is validated and saved."""

    steps: int = setting(100_000, "Training steps; the learning rate falls until the last.", low=1)
    batch_size: int = setting(16, "Lanes: songs played side by side.", low=1, high=MOST_TOKENS)
    accumulate: int = setting(
        1,
        "Groups of lanes computed one after the other within a step, to save GPU memory; a "
        "divisor of batch_size. The gradient is the same.",
        low=1,
    )
    block_size: int = setting(256, "Tokens per lane and step.", low=1, high=MOST_TOKENS)
    mode: str = setting(
        "join",
        "What follows a song's last token: join, the next song in the same block, so that every "
        "position has a target; pad, padding up to the next block; crop, as pad, but a song's "
        "last block is dropped if it is not full.",
        choices=("join", "pad", "crop"),
    )
    condition_dropout: float = setting(
        0.85,
        "Probability that a playing of a song has no conditions at all. In the others each of them "
        "is left out with the same probability, but at most 0.5.",
        low=0,
        high=1,
    )
    rearranged: float = setting(
        0.1,
        "Fraction of playings in which a song is rearranged, so that bars or parts are written to "
        "others that are given: what --infill and --accompany need. Such a song loses as many "
        "tokens at its end as its sections add, 0.1 to 15 %.",
        low=0,
        high=1,
    )
    transpose: bool = setting(
        False,
        "Transpose each playing of a song by -5 to 6 semitones, drawn anew, where no note leaves "
        "the range of a piano. Off: it pays only where songs are played many times.",
    )
    tempo_range: int = setting(
        0,
        "Move the tempos of each playing by up to so many bins of 4.4 %; likewise off.",
        low=0,
        high=16,
    )
    drop_parts: float = setting(
        0.0,
        "Fraction of playings in which half of the parts, drawn at random, are left out; likewise "
        "off.",
        low=0,
        high=1,
    )
    optimizer: str = setting(
        "muon",
        "muon: Muon for the matrices inside the layers, AdamW for the rest; with qk_norm 0.15 nats "
        "lower than AdamW alone after 100 steps. adamw: AdamW for everything.",
        choices=("adamw", "muon"),
    )
    lr: float = setting(1e-3, "Peak learning rate; about 0.02 / sqrt(d_model) suits AdamW.", low=0)
    gate_lr: float = setting(
        0.02,
        "Peak learning rate of the kNN memory's gates. AdamW moves a weight by about the learning "
        "rate per step, and a gate logit must travel several units, so gates need a higher rate.",
        low=0,
    )
    final_lr_ratio: float = setting(
        0.1, "Learning rate of the last step / peak learning rate.", low=0, high=1
    )
    warmup_steps: int = setting(500, "Steps over which the learning rate rises.", low=0)
    weight_decay: float = setting(
        0.1, "Decoupled weight decay of matrices, multiplied by the learning rate.", low=0
    )
    beta2: float = setting(
        0.98,
        "AdamW's beta2; the usual 0.999 averages over too many steps for runs of thousands.",
        low=0,
        high=0.999999,
    )
    rtf_probability: float = setting(
        0.5, "Fraction of lanes, drawn anew in each step, that rtf applies to.", low=0, high=1
    )
    rtf_max_window: int = setting(
        8,
        "Largest window that rtf=window draws; rtf=strict replaces at least one input in as many "
        "tokens.",
        low=1,
    )
    grad_clip: float = setting(1.0, "Clip gradients to this L2 norm.", low=0)
    precision: str = setting(
        "auto",
        "Precision of matrix products: fp32, bf16, or auto, which is bf16 on GPUs that have it.",
        choices=("auto", "fp32", "bf16"),
    )
    compile: bool | None = setting(
        None,
        "Compile the model by torch.compile. none: on a CUDA GPU, where it takes up to a minute, "
        "less once compiled code is in the user's cache folder, and makes steps 1.6 times as fast.",
    )
    cuda_graph: bool = setting(
        True,
        "On one CUDA GPU, take each training step as one CUDA graph, so that the GPU does not wait "
        "for Python: it did for half of the time. A model with a kNN memory cannot.",
    )
    where: str | None = setting(
        None,
        "Train and validate only on songs that meet this SQL condition over the index's columns, "
        "such as \"instruments >= 3 and meter = '4/4'\".",
    )
    seed: int = setting(0, "Seed of initial weights, song order, dropout and rtf.", low=0)
    log_every: int = setting(10, "Steps between lines of metrics.jsonl.", low=1)
    evaluate_every: int = setting(1000, "Steps between validations.", low=1)
    evaluate_batches: int | None = setting(
        None,
        "Batches per validation; none: the whole split.",
        low=1,
    )
    evaluate_whole_at_end: bool = setting(
        True,
        "Whether the last validation is of the whole split where evaluate_batches is set. On: only "
        "losses over the same targets can be compared between runs. Off saves its time, which "
        "`trainer fit` states beforehand.",
    )
    patience: int | None = setting(
        None, "Stop after this many validations in a row without a new best; none: never.", low=1
    )
    sample_bars: int = setting(
        8,
        "Bars of a song to write at each validation, as samples/step-STEP.mid and drawn in "
        "TensorBoard; 0: none.",
        low=0,
        high=MOST_TOKENS,
    )
    checkpoint_every: int = setting(1000, "Steps between checkpoints.", low=1)
    keep_checkpoints: int = setting(2, "Checkpoints to keep, in addition to the best.", low=1)

    def __post_init__(self) -> None:
        """Refuse lanes that do not divide into groups."""
        super().__post_init__()
        if self.batch_size % self.accumulate:
            raise SettingError(
                f"accumulate is {self.accumulate}; expected a divisor of "
                f"batch_size = {self.batch_size}"
            )


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a run."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        """Refuse rearranged songs that the model could not tell from others."""
        if self.train.rearranged and not self.model.conditions:
            raise SettingError(
                f"rearranged is {self.train.rearranged}; without conditions expected 0: they say "
                "what is given"
            )


def for_dataset(config: Config, dataset: SongSource) -> Config:
    """The same settings, with those filled in that the dataset gives."""
    model = config.model.for_vocabulary(dataset.vocabulary)
    if model.knn and model.knn_capacity is None:
        longest = int(max(dataset.index["tokens"].to_numpy(), default=1))
        model = dataclasses.replace(model, knn_capacity=longest)
    return dataclasses.replace(config, model=model)


def override(config: Config, assignments: Iterable[str], file: Path | None = None) -> Config:
    """Apply settings of a TOML file, and then texts of the form `name=value`.

    Args:
        config: what they change.
        assignments: each is of the part that has a field of that name.
        file: with the sections [model] and [train].

    Raises:
        SettingError: a text without `=`, an unknown name (with the closest known one), a setting
            that the dataset gives, or a value that is not allowed.
    """
    model, train = settings.to_json(config.model), settings.to_json(config.train)
    if file is not None:
        stated = read_settings(file, {"model": ModelConfig, "train": TrainConfig})
        if given := stated.get("model", {}).keys() & {*FROM_VOCABULARY}:
            raise SettingError(f"{file}: [model]: {min(given)} is given by the dataset")
        model, train = model | stated.get("model", {}), train | stated.get("train", {})
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f"--set {text}: expected name=value")
        if name in FROM_VOCABULARY:
            raise SettingError(f"--set {text}: {name} is given by the dataset")
        part, cls = (model, ModelConfig) if name in model else (train, TrainConfig)
        if name not in part:
            hint = settings.nearest(name, [*model, *train])
            raise SettingError(f"--set {text}: unknown setting {name!r}{hint}")
        part[name] = settings.parse(cls, name, value, where="--set")
    return Config(
        model=settings.from_json(ModelConfig, model, where="--set"),
        train=settings.from_json(TrainConfig, train, where="--set"),
    )
