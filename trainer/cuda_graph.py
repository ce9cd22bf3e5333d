"""Recording what a GPU is to compute as a CUDA graph: launched at once, as often as wanted.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable

import torch


def record(step: Callable[[], None], stream: torch.cuda.Stream) -> Callable[[], None]:
    """Record a step without taking it; the result takes it, on whatever stream is current.

    Other threads may use CUDA meanwhile, hence the error mode.

    Args:
        step: has been taken on the stream a few times, which compiles, chooses algorithms and makes
            state; a recording must not.
        stream: not the default one. Two graphs of one stream share a workspace of matrix products,
            so that they must never run at the same time; and a gradient that autograd adds up on
            another stream than before cannot be recorded.

    Raises:
        RuntimeError: it cannot be recorded. Steps can be taken as before.
    """
    graph = torch.cuda.CUDAGraph()
    recording = torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local")
    try:
        with torch.cuda.stream(stream), recording:  # where it fails, the latter leaves it current
            step()
    except RuntimeError as error:  # of any kind: CUDA, torch, too little memory
        _end_recording_of_random_numbers(stream.device)
        raise RuntimeError(_first_line(error)) from error
    return graph.replay


def _end_recording_of_random_numbers(device: torch.device) -> None:
    """Give torch's generator a new state: after a recording that failed it takes no other draw."""
    generator = torch.cuda.default_generators[device.index]
    generator.graphsafe_set_state(generator.clone_state())


def _first_line(error: BaseException) -> str:
    """What went wrong first: leaving a recording that failed fails too."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).strip().splitlines()[0]
