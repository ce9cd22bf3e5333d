"""Recording: what is left behind where it fails, with a stand-in for CUDA."""

import pytest
import torch

from trainer import cuda_graph

CUDA = torch.device("cuda", 0)


class Stream:
    device = CUDA


@pytest.fixture
def cuda(monkeypatch):
    """As torch 2.13 does it: a recording that failed fails again at its end, and stays current."""
    state = {"current": "default", "generator": "recording"}

    class Current:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            self.before, state["current"] = state["current"], self.stream

        def __exit__(self, *_):
            state["current"] = self.before

    class Recording(Current):
        def __init__(self, graph, *, stream, capture_error_mode):
            super().__init__(stream)

        def __exit__(self, kind, *_):
            if kind is not None:
                raise RuntimeError("operation failed due to a previous error during capture")
            super().__exit__()

    class Generator:
        def clone_state(self):
            return "as before"

        def graphsafe_set_state(self, value):
            state["generator"] = value

    class Graph:
        def replay(self):
            pass

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Recording)
    monkeypatch.setattr(torch.cuda, "stream", Current)
    monkeypatch.setattr(torch.cuda, "default_generators", [Generator()])
    return state


def test_a_recording_that_fails_says_why_in_one_line_and_leaves_all_as_it_was(cuda):
    def step():
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with pytest.raises(RuntimeError) as raised:
        cuda_graph.record(step, Stream())
    assert str(raised.value) == "operation not permitted when stream is capturing"
    assert cuda == {"current": "default", "generator": "as before"}


def test_what_is_recorded_is_taken_later(cuda):
    seen = []
    taken = cuda_graph.record(lambda: seen.append(cuda["current"]), stream := Stream())
    assert seen == [stream]
    assert cuda["current"] == "default"
    assert taken.__name__ == "replay"


@pytest.mark.gpu
def test_after_a_recording_that_failed_random_numbers_and_streams_go_on():
    stream = torch.cuda.Stream()
    with pytest.raises(RuntimeError, match="captur"):
        cuda_graph.record(lambda: torch.rand(3, device="cuda").tolist(), stream)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    torch.manual_seed(0)
    first = torch.rand(3, device="cuda")
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3, device="cuda"), first)
