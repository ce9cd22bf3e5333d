import dataclasses

import pytest
import torch
from einops import rearrange

from shards.errors import SettingError
from shards.vocabulary import PROGRAMS
from trainer.config import ModelConfig
from trainer.data.batches import Batch
from trainer.model.attention import token_major
from trainer.model.loss import sum_losses, token_losses
from trainer.model.transformer import TransformerXL
from trainer.run import checkpoint


def batch_of(vocabulary, **columns):
    """A batch of four <sos>; columns replace the defaults, or with None leave them out."""
    names = ["instruments", "bars", "steps", "segment_ids", "velocities", "targets"]
    default = dict.fromkeys(names, 0)
    values = {"tokens": vocabulary.sos, **default, **columns}
    return Batch(
        **{
            name: torch.tensor([value if isinstance(value, list) else [value] * 4])
            for name, value in values.items()
            if value is not None
        }
    )


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before():
    models = [TransformerXL(ModelConfig(layers=1, d_model=16, heads=2)) for _ in range(2)]
    for model in models:
        model.initialize(torch.Generator().manual_seed(3))
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_norms_start_at_one_and_biases_at_zero():
    config = ModelConfig(layers=1, d_model=16, heads=2, position_encoding="txl", qk_norm=False)
    model = TransformerXL(config)
    model.initialize(torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        if name.startswith("embed.conditions."):
            assert not parameter.any(), name
        elif parameter.dim() == 1 or name.endswith((".u", ".v")):
            assert (parameter == (1 if name.endswith("norm.weight") else 0)).all(), name
        else:
            assert parameter.std() > 0.01, name


@pytest.mark.parametrize("column", ["tokens", "instruments", "bars", "steps"])
def test_every_input_matters(make_model, vocabulary, column):
    model = make_model()
    default, _ = model(batch_of(vocabulary), model.empty_memory(1))
    other, _ = model(batch_of(vocabulary, **{column: [5, 0, 0, 0]}), model.empty_memory(1))
    assert not torch.allclose(default.token_logits, other.token_logits, atol=1e-3)
    assert not torch.allclose(default.instrument_logits, other.instrument_logits, atol=1e-3)


def test_bars_from_max_bars_on_share_one_embedding(make_model, vocabulary):
    model = make_model(position_encoding="rope", max_bars=8)
    last, _ = model(batch_of(vocabulary, bars=7), model.empty_memory(1))
    beyond, _ = model(batch_of(vocabulary, bars=60_000), model.empty_memory(1))
    assert torch.equal(last.token_logits, beyond.token_logits)


def test_the_last_class_and_step_and_none_have_embeddings(make_model, vocabulary):
    model = make_model()
    extremes = batch_of(
        vocabulary,
        tokens=len(vocabulary) - 1,
        instruments=vocabulary.instruments,
        steps=vocabulary.max_bar_steps - 1,
    )
    output, _ = model(extremes, model.empty_memory(1))
    assert output.token_logits.shape == (1, 4, len(vocabulary))
    assert output.instrument_logits.shape == (1, 4, PROGRAMS)


def test_an_untrained_model_predicts_a_nearly_uniform_distribution(vocabulary):
    config = ModelConfig(layers=2, d_model=64, heads=2, dropout=0.0).for_vocabulary(vocabulary)
    model = TransformerXL(config)
    model.initialize(torch.Generator().manual_seed(0))
    output, _ = model(batch_of(vocabulary), model.empty_memory(1))
    assert output.token_logits.std() < 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_model": 100, "heads": 6}, "multiple of twice heads"),
        ({"layers": 0}, "layers is 0; expected at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0; expected less than 1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"position_encoding": "rop"}, "expected one of rope_music, rope, txl, t5"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        dataclasses.replace(ModelConfig(), **settings)


OPTIONS = [
    {"qk_norm": True},
    {"qk_norm": False},
    {"velocity_head": True},
    {"previous_token": False},
]


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_every_weight_of_every_option_is_learned_and_saved(vocabulary, option):
    config = ModelConfig(layers=1, d_model=16, heads=2, memory=4, dropout=0.0, **option)
    model = TransformerXL(config.for_vocabulary(vocabulary))
    model.initialize(torch.Generator().manual_seed(0))
    ids = vocabulary.ids
    known = {"conditions": 1 << 48, "band_low": 5, "band_high": 1}
    targets = {"targets": ids["n60"], "instrument_targets": 5, "velocity_targets": 20}
    batch = batch_of(vocabulary, **targets, **known)
    for parameter in model.parameters():
        parameter.data += 0.1
    output, _ = model(batch, model.empty_memory(1))
    sum_losses(token_losses(output, batch), batch).loss.backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []
    copy = TransformerXL(config.for_vocabulary(vocabulary))
    checkpoint.load_model(copy, checkpoint.model_tensors(model))
    again, _ = copy(batch, copy.empty_memory(1))
    assert torch.equal(output.token_logits, again.token_logits)


def test_only_the_instrument_head_reads_the_next_token(make_model, vocabulary):
    model = make_model()
    one, other = (
        model(batch_of(vocabulary, targets=target), model.empty_memory(1))[0] for target in (10, 11)
    )
    assert torch.equal(one.token_logits, other.token_logits)
    assert not torch.equal(one.instrument_logits, other.instrument_logits)
    without, _ = model(batch_of(vocabulary, targets=None), model.empty_memory(1))
    assert without.instrument_logits is None
    named = torch.full((1, 4), 11)
    assert torch.equal(model.instrument_head(without.hidden, named), other.instrument_logits)


def test_velocities_matter_only_to_a_model_that_predicts_them(make_model, vocabulary):
    for option in (False, True):
        model = make_model(velocity_head=option)
        soft, loud = (
            model(batch_of(vocabulary, velocities=bin_), model.empty_memory(1))[0]
            for bin_ in (3, 30)
        )
        assert torch.equal(soft.token_logits, loud.token_logits) != option
        assert (model.velocity_head is not None) == option


def test_with_qk_norm_the_length_of_queries_and_keys_does_not_matter(make_model, vocabulary):
    model = make_model(qk_norm=True)
    before, _ = model(batch_of(vocabulary, tokens=[5, 9, 7, 8]), model.empty_memory(1))
    for layer in model.layers:
        layer.attention.project_in.weight.data[:32] *= 7.0  # queries and keys
    after, _ = model(batch_of(vocabulary, tokens=[5, 9, 7, 8]), model.empty_memory(1))
    assert torch.allclose(before.token_logits, after.token_logits, atol=1e-4)


def test_queries_laid_out_by_token_are_the_same_and_their_heads_join_without_a_copy():
    queries = torch.rand(2, 3, 4, 5)
    laid_out = token_major(queries)
    assert torch.equal(laid_out, queries)
    assert rearrange(laid_out, "b h t e -> b t (h e)").data_ptr() == laid_out.data_ptr()
