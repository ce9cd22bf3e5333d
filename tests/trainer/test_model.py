import dataclasses

import pytest
import torch

from shards.errors import SettingError
from trainer.batches import Batch
from trainer.config import ModelConfig
from trainer.model import TransformerXL


def batch_of(vocabulary, **columns):
    """Four <sos>, unless told otherwise."""
    usual = {"tokens": vocabulary.sos, "instruments": 0, "bars": 0, "steps": 0, "visits": 0}
    values = (usual | columns).values()
    return Batch(
        *(torch.tensor([value if isinstance(value, list) else [value] * 4]) for value in values)
    )


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before():
    models = [TransformerXL(ModelConfig(layers=1, width=16, heads=2)) for _ in range(2)]
    for model in models:
        model.initialize(torch.Generator().manual_seed(3))
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_norms_start_at_one_and_biases_at_zero():
    model = TransformerXL(ModelConfig(layers=1, width=16, heads=2, positions="txl"))
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
        steps=vocabulary.longest_bar - 1,
    )
    output, _ = model(extremes, model.empty_memory(1))
    assert output.tokens.shape == (1, 4, len(vocabulary))
    assert output.instruments.shape == (1, 4, vocabulary.instruments)


def test_an_untrained_model_finds_everything_about_equally_likely(vocabulary):
    config = ModelConfig(layers=2, width=64, heads=2, dropout=0.0).for_vocabulary(vocabulary)
    model = TransformerXL(config)
    model.initialize(torch.Generator().manual_seed(0))
    output, _ = model(batch_of(vocabulary), model.empty_memory(1))
    assert output.tokens.std() < 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 100, "heads": 6}, "multiple of twice heads"),
        ({"layers": 0}, "layers is 0; expected at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0; expected less than 1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"positions": "rop"}, "expected one of rope, txl, t5"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        dataclasses.replace(ModelConfig(), **settings)
