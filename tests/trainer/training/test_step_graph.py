"""The step as a CUDA graph; on a CPU its twin, which takes the recorded step again."""

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from shards import open_dataset
from tests.trainer.training.test_trainer import assert_same, everything, losses, with_train
from trainer.training import step_graph
from trainer.training.step_graph import StepGraph
from trainer.training.trainer import Trainer

CPU = torch.device("cpu")
KINDS = [
    {},
    {"accumulate": 3},
    {"optimizer": "muon", "mode": "pad"},
    {"rtf": "strict", "velocity_head": True},
    {"position_encoding": "txl", "qk_norm": True},
]


def changed(config, options):
    parts = {}
    for name in ("model", "train"):
        part = getattr(config, name)
        known = {key: value for key, value in options.items() if hasattr(part, key)}
        parts[name] = dataclasses.replace(part, **known)
    return dataclasses.replace(config, **parts)


@pytest.fixture
def twin_graphs(monkeypatch):
    """Have trainers take the way of a CUDA graph on the CPU."""
    taken = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    monkeypatch.setattr(step_graph, "on_stream", lambda step, stream: step)
    monkeypatch.setattr(step_graph, "record", lambda step, stream: taken.append(step) or step)
    take_step = Trainer._take_step

    def as_graph(trainer, batch):
        if getattr(trainer, "is_graphed", False):
            trainer._graph = trainer._graph or StepGraph(trainer._compute, batch, trainer._memories)
            return trainer._graph(batch)
        return take_step(trainer, batch)

    monkeypatch.setattr(Trainer, "_take_step", as_graph)
    return taken


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_steps_over_fixed_tensors_equal_eager_ones_bit_for_bit(
    dataset, config, options, twin_graphs
):
    config = changed(config, options)
    eager, graphed = Trainer(dataset, config, CPU), Trainer(dataset, config, CPU)
    graphed.is_graphed = True
    for step in range(9):
        assert losses(graphed, 1) == losses(eager, 1)
        assert torch.equal(graphed.grad_norm, eager.grad_norm)
        if step == 6:
            graphed.evaluate(batches=1)
            graphed.load(everything(graphed), dict(graphed.state()))
    assert_same(everything(graphed), everything(eager))
    assert len(twin_graphs) == 1  # recorded before the load; the next is warming up


def test_the_results_of_a_step_outlive_the_next(dataset, config, twin_graphs):
    trainer = Trainer(dataset, config, CPU)
    trainer.is_graphed = True
    kept = [trainer.train_step() for _ in range(6)]
    again = Trainer(dataset, config, CPU)
    assert [float(each.loss) for each in kept] == losses(again, 6)


def test_a_step_that_cannot_be_recorded_goes_on_and_says_so_once(
    dataset, config, twin_graphs, monkeypatch, capsys
):
    config = changed(config, {"dropout": 0.0})
    trainer, eager = Trainer(dataset, config, CPU), Trainer(dataset, config, CPU)
    trainer.is_graphed = True
    losses(trainer, 3)
    losses(eager, 3)
    saved = everything(trainer)

    def fail(step, stream):
        step()  # leaves gradients behind, as a recording does that fails late
        with torch.no_grad():  # but a recording computes nothing
            for name, tensor in trainer.tensors().items():
                tensor.copy_(saved[name])
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(step_graph, "record", fail)
    assert losses(trainer, 4) == losses(eager, 4)
    printed = capsys.readouterr().err
    assert printed.count("without a CUDA graph (operation not permitted when") == 1


class CountWaits(TorchDispatchMode):
    """Counts how often a number is read from a tensor: on a GPU, each waits for it."""

    def __enter__(self):
        self.waits = 0
        return super().__enter__()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        names = ("_local_scalar_dense", "nonzero", "equal", "unique", "masked_select")
        self.waits += function.overloadpacket.__name__ in names
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "options", [{"optimizer": "muon"}, {"accumulate": 3, "rtf": "window"}], ids=str
)
def test_no_step_reads_a_number_from_the_device(dataset, config, options, monkeypatch):
    trainer = Trainer(dataset, changed(config, options), CPU)
    losses(trainer, 2)  # the loader's thread has started, and there is optimizer state
    for name in ("tolist", "numpy", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_: pytest.fail("waits for the device"))
    with CountWaits() as counted:
        for step in range(4):
            trainer.train_step(measure_update=step == 2)
    assert counted.waits == 0
    with counted:
        float(trainer.grad_norm)
    assert counted.waits == 1


@pytest.mark.gpu
@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_cuda_graph_computes_what_the_steps_compute(dataset_folder, config, options, compiled):
    dataset, cuda = open_dataset(dataset_folder), torch.device("cuda")
    config = changed(config, {**options, "compile": compiled, "precision": "fp32"})
    found = []
    for graph in (True, False):
        trainer = Trainer(dataset, with_train(config, cuda_graph=graph), cuda)
        found.append(losses(trainer, 10))
        assert (trainer._graph is not None) == graph
        if graph:  # recorded, not fallen back
            assert trainer._graph._take.__name__ == "replay"
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.gpu
def test_a_graph_survives_a_thousand_steps_validations_and_a_resume(dataset_folder, config):
    from torch._dynamo.utils import counters

    dataset, cuda = open_dataset(dataset_folder), torch.device("cuda")
    counters.clear()
    trainer = Trainer(dataset, with_train(config, steps=1000), cuda)
    for step in range(1000):
        trainer.train_step(measure_update=step % 100 == 0)
        if step % 250 == 0:
            trainer.evaluate(batches=2)
    assert counters["stats"]["unique_graphs"] == 2
    saved, state = everything(trainer), dict(trainer.state())
    resumed = Trainer(dataset, with_train(config, steps=1000), cuda)
    resumed.load(saved, state)
    # sums of embedding gradients are atomic on a GPU: their order is not fixed
    assert losses(resumed, 5) == pytest.approx(losses(trainer, 5), rel=1e-5)
