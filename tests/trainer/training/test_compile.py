"""One compiled graph for training and one for evaluation, whatever the data do."""

import dataclasses
import functools
import os

import pytest
import torch
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.utils import counters
from torch._functorch.compilers import nop
from torch._inductor.exc import InductorError

from trainer.training import trainer as trainer_module
from trainer.training.compiled import CACHE, Compiled, is_compiled
from trainer.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture
def graphs(monkeypatch):
    """Compiles without generating code, and counts the traced graphs.

    Whether a graph is traced again is decided before the backend runs.
    """
    torch._dynamo.reset()
    counters.clear()
    compile_ = torch.compile

    def without_code(function, **options):
        return compile_(function, backend="eager", **options)

    monkeypatch.setattr(trainer_module.torch, "compile", without_code)
    yield lambda: counters["stats"]["unique_graphs"]
    torch._dynamo.reset()


def make_trainer(dataset, config, *, model=None, **train):
    return Trainer(
        dataset,
        dataclasses.replace(
            config,
            model=dataclasses.replace(config.model, **{"layers": 1, **(model or {})}),
            train=dataclasses.replace(config.train, compile=True, **train),
        ),
        CPU,
    )


def test_hundreds_of_steps_with_resets_wraps_and_evaluations_are_two_graphs(
    dataset, config, graphs
):
    trainer = make_trainer(
        dataset, config, model={"memory": 8}, steps=400, batch_size=2, block_size=8
    )
    for step in range(400):
        trainer.train_step(measure_update=step % 100 == 0)
        if step % 100 == 0:
            trainer.evaluate(batches=2)
    assert trainer.epoch > 10
    assert graphs() == 2
    assert counters["graph_break"] == {}


@pytest.mark.usefixtures("onednn")
def test_groups_of_one_lane_and_a_resumed_memory_need_no_other_graph(dataset, config, graphs):
    # memory as long as the block: a lone lane's view of it would pass for contiguous
    trainer = make_trainer(
        dataset, config, model={"memory": 16}, batch_size=3, block_size=16, accumulate=3
    )
    for _ in range(3):
        trainer.train_step()
        trainer.evaluate(batches=1)
    trainer.load(trainer.tensors(), trainer.state())
    trainer.train_step()
    assert graphs() == 2  # of one lane for training, of three for evaluation


def test_a_knn_memory_that_fills_and_masks_need_no_other_graph(dataset, config, graphs):
    model = {"memory": 8, "knn": True, "knn_capacity": 16, "rtf": "strict"}
    for groups in (1, 3):
        trainer = make_trainer(
            dataset, config, model=model, batch_size=3, block_size=8, accumulate=groups
        )
        before = graphs()
        for step in range(40):
            trainer.train_step()
            if step % 10 == 0:
                trainer.evaluate(batches=2)
        assert graphs() - before == (2 if groups == 1 else 1)  # evaluation's was traced before
    assert counters["graph_break"] == {}


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize(
    ("precision", "backend"),
    [("fp32", "inductor"), ("bf16", "aot_eager")],  # code for one: its C++ takes 20 s
)
def test_what_is_compiled_computes_the_same(dataset, config, monkeypatch, precision, backend):
    monkeypatch.setattr(
        trainer_module.torch, "compile", functools.partial(torch.compile, backend=backend)
    )
    losses = []
    for compiled in (False, True):
        torch._dynamo.reset()
        trainer = make_trainer(dataset, config, model={"dropout": 0.0}, precision=precision)
        if not compiled:
            trainer._scoring.run = trainer_module.score_batch
        losses.append([float(trainer.train_step().loss) for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5 if precision == "fp32" else 1e-4)


def broken(graph, inputs):
    raise RuntimeError("no compiler here\nmore")


def broken_backward(graph, inputs):
    raise InductorError(RuntimeError("no compiler here"), None)  # as inductor raises


@pytest.mark.parametrize(
    "backend",
    [broken, aot_autograd(fw_compiler=nop, bw_compiler=broken_backward)],
    ids=["forward", "backward"],
)
def test_where_compiling_fails_one_line_says_so_and_the_step_runs_as_it_is(
    dataset, config, monkeypatch, capsys, backend
):
    torch._dynamo.reset()
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, dropout=0.0))
    plain = Trainer(dataset, config, CPU)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    compiled = make_trainer(dataset, config, model={"layers": 2})
    for _ in range(2):
        assert float(compiled.train_step().loss) == float(plain.train_step().loss)
    assert compiled.evaluate(batches=1).means() == plain.evaluate(batches=1).means()
    printed = capsys.readouterr().err
    assert printed.count("no compiler here") == 1
    assert "runs uncompiled" in printed


def test_the_device_decides_unless_the_setting_does():
    cuda = torch.device("cuda")
    assert [is_compiled(None, device) for device in (CPU, cuda)] == [False, True]
    for setting in (False, True):
        assert [is_compiled(setting, device) for device in (CPU, cuda)] == [setting] * 2


def test_compiled_code_is_kept_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(CACHE, raising=False)
    Compiled(len, enabled=False)
    assert CACHE not in os.environ
    Compiled(len, enabled=True)
    assert os.environ[CACHE] == str(tmp_path / "lakhxl" / "inductor")
    monkeypatch.setenv(CACHE, "/mine")
    Compiled(len, enabled=True)
    assert os.environ[CACHE] == "/mine"
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")  # cannot be made
    monkeypatch.delenv(CACHE)
    Compiled(len, enabled=True)
    assert "lakhxl" not in os.environ.get(CACHE, "")
