"""One token as CUDA graphs; on a CPU their twin, which takes the recorded step again."""

import numpy as np
import pytest
import torch

from trainer.generation import generate, token_graph
from trainer.generation.generate import write_songs
from trainer.generation.incremental import IncrementalModel
from trainer.generation.settings import SampleConfig
from trainer.generation.token_graph import Recorded

KINDS = [
    {"position_encoding": "rope_music", "value_residual": True},
    {"velocity_head": True, "qk_norm": True},
    {"window": 7, "memory": 5},
    {"memory": 0, "conditions": False},
]
FLAT = {"temperature": 2.0, "instrument_top_p": 1.0, "velocity_top_p": 1.0, "weights": "float32"}


@pytest.fixture
def twin_graphs(monkeypatch):
    """Have tokens take the way of a CUDA graph on the CPU; the recorded steps."""
    taken = []
    monkeypatch.setattr(token_graph, "is_possible", lambda _: True)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: None)
    monkeypatch.setattr(token_graph, "record", lambda step, stream: taken.append(step) or step)
    return taken


def inputs_of(vocabulary, model, lanes, tokens):
    """Random inputs, shape (8, lanes, tokens); conditions change now and then."""
    random, config = np.random.default_rng(0), model.config
    highest = config.vocab_size, config.instrument_classes + 1, 9, 96, 33, 5, 4, 4
    inputs = np.stack([random.integers(0, high, (lanes, tokens)) for high in highest])
    inputs[5:] = inputs[5:, :, :1] + (np.arange(tokens) > tokens // 2)
    return inputs


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_tokens_over_fixed_tensors_give_the_logits_of_the_eager_way(
    make_model, vocabulary, options, twin_graphs, monkeypatch
):
    model = make_model(**options)
    inputs = inputs_of(vocabulary, model, 2, 40)
    graphed = IncrementalModel(model, 8, lanes=2)
    monkeypatch.setattr(token_graph, "is_possible", lambda _: False)
    eager = IncrementalModel(model, 8, lanes=2)
    tokens, programs = np.array([30, 40]), np.array([3, 120])
    sizes = [3, *[1] * 20, 5, *[1] * 12]
    for at, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        for each in (graphed, eager):
            each.feed(inputs[:, :, at : at + size])
        for name, known in (
            ("token_logits", ()),
            ("instrument_logits", (tokens,)),
            ("velocity_logits", (tokens, programs)),
        ):
            found, expected = (getattr(each, name)(*known) for each in (graphed, eager))
            assert (found is None) == (expected is None)
            assert found is None or np.allclose(found, expected, atol=1e-5, rtol=0)
    assert len(twin_graphs) == 2 + bool(options.get("velocity_head"))


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("options", KINDS[::2], ids=str)
def test_songs_in_groups_and_by_graphs_are_the_same_songs(
    make_model, vocabulary, options, guidance, twin_graphs, monkeypatch
):
    model = make_model(**options)
    config = SampleConfig(count=5, bars=2, tokens=60, guidance=guidance, **FLAT)

    def songs():
        samplers = generate.song_samplers(model, vocabulary, config, None)
        for _ in write_songs(samplers, model, config, block_size=8):
            pass
        return [sampler.finish() for sampler in samplers]

    monkeypatch.setattr(generate, "_groups", lambda *_: 2)
    by_graphs = songs()
    assert twin_graphs
    monkeypatch.setattr(generate, "_groups", lambda *_: 1)
    monkeypatch.setattr(token_graph, "is_possible", lambda _: False)
    assert by_graphs == songs()


def test_what_cannot_be_recorded_is_computed_and_said_once(monkeypatch, capsys):
    def fail(step, stream):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: None)
    monkeypatch.setattr(token_graph, "record", fail)
    doubled = Recorded(lambda numbers: 2 * numbers, 2, torch.device("cpu"))
    for number in (3, 4):
        doubled.start([np.array([number]), np.array([7])])
        assert doubled.result().tolist() == [2 * number, 14]
    printed = capsys.readouterr().err
    assert printed.count("without a CUDA graph (operation not permitted when") == 1


@pytest.mark.gpu
@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("count", [1, 20])
def test_a_gpu_writes_the_songs_of_the_cpu(make_model, vocabulary, options, count, capsys):
    config = SampleConfig(count=count, bars=4, tokens=100, **FLAT)
    songs = [
        generate.generate(make_model(**options).to(device), vocabulary, config, block_size=8)
        for device in ("cuda", "cpu")
    ]
    same = [gpu == cpu for gpu, cpu in zip(*songs, strict=True)]
    assert sum(same) >= 0.9 * count  # rounding may change a token now and then
    assert "without a CUDA graph" not in capsys.readouterr().err
