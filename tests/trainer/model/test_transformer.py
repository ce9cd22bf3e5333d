import dataclasses

import pytest
import torch

from shards.errors import SettingError
from trainer.config import ModelConfig
from trainer.data.batches import Batch
from trainer.model.loss import sum_losses, token_losses
from trainer.model.transformer import FeedForward, TransformerXL
from trainer.run import checkpoint


def batch_of(vocabulary, **columns):
    """Four <sos>, unless told otherwise."""
    usual = dict.fromkeys(["instruments", "bars", "steps", "segment_ids", "velocities"], 0)
    values = {"tokens": vocabulary.sos, **usual, **columns}
    return Batch(
        **{
            name: torch.tensor([value if isinstance(value, list) else [value] * 4])
            for name, value in values.items()
        }
    )


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before():
    models = [TransformerXL(ModelConfig(layers=1, d_model=16, heads=2)) for _ in range(2)]
    for model in models:
        model.initialize(torch.Generator().manual_seed(3))
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_norms_start_at_one_and_biases_at_zero():
    model = TransformerXL(ModelConfig(layers=1, d_model=16, heads=2, position_encoding="txl"))
    model.initialize(torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 or name.endswith((".u", ".v")):
            assert (parameter == (1 if name.endswith("norm.weight") else 0)).all(), name
        else:
            assert parameter.std() > 0.01, name


@pytest.mark.parametrize("column", ["tokens", "instruments", "bars", "steps"])
def test_every_input_matters(make_model, vocabulary, column):
    model = make_model()
    usual, _ = model(batch_of(vocabulary), model.empty_memory(1))
    other, _ = model(batch_of(vocabulary, **{column: [5, 0, 0, 0]}), model.empty_memory(1))
    assert not torch.allclose(usual.tokens, other.tokens, atol=1e-3)
    assert not torch.allclose(usual.instruments, other.instruments, atol=1e-3)


def test_bars_beyond_the_last_that_is_told_apart_count_as_it(make_model, vocabulary):
    model = make_model(max_bars=8)
    last, _ = model(batch_of(vocabulary, bars=7), model.empty_memory(1))
    beyond, _ = model(batch_of(vocabulary, bars=60_000), model.empty_memory(1))
    assert torch.equal(last.tokens, beyond.tokens)


def test_the_last_class_and_step_and_none_have_embeddings(make_model, vocabulary):
    model = make_model()
    extremes = batch_of(
        vocabulary,
        tokens=len(vocabulary) - 1,
        instruments=vocabulary.instruments,
        steps=vocabulary.max_bar_steps - 1,
    )
    output, _ = model(extremes, model.empty_memory(1))
    assert output.tokens.shape == (1, 4, len(vocabulary))
    assert output.instruments.shape == (1, 4, vocabulary.instruments)


def test_an_untrained_model_finds_everything_about_equally_likely(vocabulary):
    config = ModelConfig(layers=2, d_model=64, heads=2, dropout=0.0).for_vocabulary(vocabulary)
    model = TransformerXL(config)
    model.initialize(torch.Generator().manual_seed(0))
    output, _ = model(batch_of(vocabulary), model.empty_memory(1))
    assert output.tokens.std() < 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_model": 100, "heads": 6}, "multiple of twice heads"),
        ({"layers": 0}, "layers is 0; expected at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0; expected less than 1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"positions": "rop"}, "expected one of rope, txl, t5"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        dataclasses.replace(ModelConfig(), **settings)


OPTIONS = [
    {"qk_norm": True},
    {"activation": "relu2"},
    {"zero_init": True},
    {"tied": True},
    {"instrument_head": "conditional"},
    {"velocity": "embed"},
    {"velocity": "predict"},
]


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_every_weight_of_every_option_is_learned_and_saved(vocabulary, option):
    config = ModelConfig(layers=1, d_model=16, heads=2, memory=4, dropout=0.0, **option)
    model = TransformerXL(config.for_vocabulary(vocabulary))
    model.initialize(torch.Generator().manual_seed(0))
    ids = vocabulary.ids
    batch = batch_of(vocabulary, targets=ids["n60"], instrument_targets=5, velocity_targets=20)
    for parameter in model.parameters():
        parameter.data += 0.1
    output, _ = model(batch, model.empty_memory(1))
    sum_losses(token_losses(output, batch), batch).loss.backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []
    copy = TransformerXL(config.for_vocabulary(vocabulary))
    checkpoint.load_model(copy, checkpoint.model_tensors(model))
    again, _ = copy(batch, copy.empty_memory(1))
    assert torch.equal(output.tokens, again.tokens)


def test_zero_init_makes_every_layer_begin_as_nothing(vocabulary):
    config = ModelConfig(layers=3, d_model=16, heads=2, zero_init=True).for_vocabulary(vocabulary)
    model = TransformerXL(config).eval()
    model.initialize(torch.Generator().manual_seed(0))
    batch = batch_of(vocabulary)
    output, _ = model(batch, model.empty_memory(1))
    assert torch.equal(output.hidden, model.norm(model.embed(batch)))


def test_a_plain_instrument_head_does_not_look_at_the_next_token_and_a_conditional_one_does(
    make_model, vocabulary
):
    for kind, looks in (("plain", False), ("conditional", True)):
        model = make_model(instrument_head=kind)
        one, other = (
            model(batch_of(vocabulary, targets=target), model.empty_memory(1))[0]
            for target in (10, 11)
        )
        assert torch.equal(one.tokens, other.tokens)
        assert torch.equal(one.instruments, other.instruments) != looks
        untold, _ = model(batch_of(vocabulary), model.empty_memory(1))
        assert (untold.instruments is None) == looks
        named = torch.full((1, 4), 11)
        assert torch.equal(model.instruments(untold.hidden, named), other.instruments)


def test_velocities_matter_only_where_they_are_embedded(make_model, vocabulary):
    for option, matters in (("none", False), ("embed", True), ("predict", True)):
        model = make_model(velocity=option)
        soft, loud = (
            model(batch_of(vocabulary, velocities=bin_), model.empty_memory(1))[0]
            for bin_ in (3, 30)
        )
        assert torch.equal(soft.tokens, loud.tokens) != matters
        assert (model.velocity_head is not None) == (option == "predict")


def test_the_square_of_relu(vocabulary):
    feed = FeedForward(ModelConfig(d_model=4, heads=1, mlp_ratio=1, activation="relu2"))
    feed.project_in.weight.data = feed.project_out.weight.data = torch.eye(4)
    feed.project_in.bias.data = feed.project_out.bias.data = torch.zeros(4)
    assert feed(torch.tensor([-2.0, -0.5, 0.5, 3.0])).tolist() == [0, 0, 0.25, 9]


def test_queries_and_keys_of_length_one_are_all_that_counts(make_model, vocabulary):
    model = make_model(qk_norm=True)
    before, _ = model(batch_of(vocabulary, tokens=[5, 9, 7, 8]), model.empty_memory(1))
    for layer in model.layers:
        layer.attention.project_in.weight.data[:32] *= 7.0  # queries and keys
    after, _ = model(batch_of(vocabulary, tokens=[5, 9, 7, 8]), model.empty_memory(1))
    assert torch.allclose(before.tokens, after.tokens, atol=1e-4)
