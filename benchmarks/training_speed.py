"""Training steps a second beside the peers, on the CPU; and alone, on a GPU.

A step is the same for all: forward, both losses or one over as many classes, backward, clipping,
fused AdamW, memory carried over; random tokens, fp32. All run in one process, in turns, so that a
busy machine is busy for all. With ff_mult 5 memorizing-transformers-pytorch, whose heads share keys
and values, has as many parameters as the others. Peers: requirements-bench.txt.

Example:
    python -m benchmarks.training_speed cpu                    # eager
    python -m benchmarks.training_speed cpu --compile          # each compiled where it can be
    python -m benchmarks.training_speed bf16 --compile         # ours alone, fp32 beside bf16
    python -m benchmarks.training_speed gpu                    # ours alone, two large shapes
"""

import argparse
import platform
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from shards.vocabulary import VELOCITY_BINS, Vocabulary
from trainer import device as devices
from trainer.config import ModelConfig, TrainConfig
from trainer.data.batches import Batch
from trainer.model import linear
from trainer.model.transformer import TransformerXL
from trainer.training import optimizers as optim
from trainer.training.trainer import score

VOCABULARY = Vocabulary()
CLASSES = len(VOCABULARY) + VOCABULARY.instruments
CPU_SHAPE = {"layers": 6, "d_model": 384, "heads": 6, "memory": 256, "dropout": 0.0}
GPU_SHAPES = {
    # shape, lanes, tokens in a block
    "16 layers, d 512, T = M = 192": (
        {"layers": 16, "d_model": 512, "heads": 8, "memory": 192},
        96,
        192,
    ),
    "16 layers, d 768, T = M = 1024": (
        {"layers": 16, "d_model": 768, "heads": 12, "memory": 1024},
        24,
        1024,
    ),
}


class Step(NamedTuple):
    """What a training step does, and how many numbers it learns."""

    run: Callable[[], None]
    parameters: int


def random_batch(lanes: int, block: int, device: torch.device) -> Batch:
    """A block of one long song a lane, every position with a target."""
    generator = torch.Generator().manual_seed(0)

    def draw(below: int) -> Tensor:
        return torch.randint(below, (lanes, block), generator=generator).to(device)

    return Batch(
        tokens=draw(len(VOCABULARY)),
        instruments=draw(VOCABULARY.instruments),
        bars=draw(60),
        steps=draw(VOCABULARY.max_bar_steps),
        segment_ids=torch.zeros(lanes, block, dtype=torch.long, device=device),
        velocities=draw(VELOCITY_BINS),
        positions=draw(1000),
        targets=draw(len(VOCABULARY)),
        instrument_targets=draw(VOCABULARY.instruments),
        velocity_targets=draw(VELOCITY_BINS),
    )


def ours(
    shape: dict,
    lanes: int,
    block: int,
    device: torch.device,
    *,
    compiled: bool,
    bf16: bool = False,
    onednn: bool = linear.HAS_ONEDNN,
) -> Step:
    model = TransformerXL(ModelConfig(**shape).for_vocabulary(VOCABULARY)).to(device)
    model.initialize(torch.Generator().manual_seed(0))
    (optimizer,) = optim.make_optimizers(model, TrainConfig(optimizer="adamw"))
    batch = random_batch(lanes, block, device)
    run = torch.compile(score, dynamic=False) if compiled else score
    dtype = torch.bfloat16 if bf16 else torch.float32
    memory = model.empty_memory(lanes, dtype=dtype)
    parameters = list(model.parameters())

    def step() -> None:
        nonlocal memory
        linear.HAS_ONEDNN = onednn
        with devices.autocast(device, dtype):
            _, tally, memory = run(model, batch, memory)
        tally.loss.backward()
        finish(parameters, optimizer)

    return Step(step, count(parameters))


def count(parameters: list[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def finish(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def peer(model: nn.Module, predict: Callable, *, compiled: bool) -> Step:
    """A step of a model whose `predict(model, tokens, memory)` gives logits and memory."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens = torch.randint(CLASSES, (8, 256), generator=torch.Generator().manual_seed(0))
    run = torch.compile(model) if compiled else model
    memory = None
    parameters = list(model.parameters())

    def step() -> None:
        nonlocal memory
        logits, memory = predict(run, tokens, memory)
        functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        memory = [layer.detach() for layer in memory]
        finish(parameters, optimizer)

    return Step(step, count(parameters))


def x_transformers(*, flash: bool) -> tuple[nn.Module, Callable]:
    from x_transformers import Decoder, TransformerWrapper

    model = TransformerWrapper(
        num_tokens=CLASSES,
        max_seq_len=256,
        max_mem_len=256,
        use_abs_pos_emb=False,
        attn_layers=Decoder(
            dim=384, depth=6, heads=6, attn_dim_head=64, rotary_pos_emb=True, attn_flash=flash
        ),
    )

    def predict(run: Callable, tokens: Tensor, memory: list | None) -> tuple[Tensor, list]:
        return run(tokens, mems=memory, return_mems=True)

    return model, predict


def memorizing_transformers(*, ff_mult: int = 4) -> tuple[nn.Module, Callable]:
    from memorizing_transformers_pytorch import MemorizingTransformer

    model = MemorizingTransformer(
        num_tokens=CLASSES,
        dim=384,
        dim_head=64,
        depth=6,
        heads=6,
        ff_mult=ff_mult,
        memorizing_layers=(),
        xl_memory_layers=(1, 2, 3, 4, 5, 6),
        xl_max_memories=256,
    )
    empty = torch.zeros(8, 0, 2, 64)

    def predict(run: Callable, tokens: Tensor, memory: list | None) -> tuple[Tensor, list]:
        return run(tokens, knn_memories=[], xl_memories=memory or [empty] * 6)

    return model, predict


def seconds_a_step(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, float]:
    """The best of so many rounds of each, in turns, after warming up (and compiling)."""
    best = dict.fromkeys(steps, float("inf"))
    for name, step in steps.items():
        begun = time.perf_counter()
        for _ in range(3):  # without memory, with it, and once more
            step.run()
        print(f"  {name} is warm after {time.perf_counter() - begun:.0f} s", flush=True)
    for _ in range(rounds):
        for name, step in steps.items():
            wait(device)
            begun = time.perf_counter()
            step.run()
            wait(device)
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(title: str, steps: dict[str, Step], best: dict[str, float], tokens: int) -> None:
    print(f"| {title} | parameters | tokens/s | its time / ours |")
    print("|---|---:|---:|---:|")
    mine = best["lakhxl"]
    for name, seconds in best.items():
        millions = steps[name].parameters / 1e6
        print(f"| {name} | {millions:.1f} M | {tokens / seconds:,.0f} | {seconds / mine:.2f} |")


def cpu(rounds: int, *, compiled: bool) -> None:
    torch.manual_seed(0)
    cpu_device = torch.device("cpu")
    steps = {
        "lakhxl": ours(CPU_SHAPE, 8, 256, cpu_device, compiled=compiled),
        "lakhxl, torch's own products": ours(
            CPU_SHAPE, 8, 256, cpu_device, compiled=compiled, onednn=False
        ),
        "x-transformers": peer(*x_transformers(flash=False), compiled=compiled),
        "x-transformers, attn_flash": peer(*x_transformers(flash=True), compiled=compiled),
        "memorizing-transformers-pytorch": peer(*memorizing_transformers(), compiled=compiled),
        "memorizing-transformers-pytorch, ff_mult 5": peer(
            *memorizing_transformers(ff_mult=5), compiled=compiled
        ),
    }
    best = seconds_a_step(steps, rounds, cpu_device)
    table("compiled" if compiled else "eager", steps, best, 8 * 256)


def bf16(rounds: int, *, compiled: bool) -> None:
    cpu_device = torch.device("cpu")
    steps = {
        "lakhxl": ours(CPU_SHAPE, 8, 256, cpu_device, compiled=compiled),
        "lakhxl, bf16": ours(CPU_SHAPE, 8, 256, cpu_device, compiled=compiled, bf16=True),
    }
    best = seconds_a_step(steps, rounds, cpu_device)
    table("compiled" if compiled else "eager", steps, best, 8 * 256)


def gpu(rounds: int) -> None:
    if not torch.cuda.is_available():
        raise SystemExit("no GPU that torch can use here: `gpu` needs one with CUDA")
    device = torch.device("cuda")
    peak = matrix_peak(device)
    print(f"{torch.cuda.get_device_name()}: {peak / 1e12:.0f} TFLOP/s in a bf16 product of 8,192")
    print("| shape | tokens/s | share of that | peak memory |\n|---|---:|---:|---:|")
    for name, (shape, lanes, block) in GPU_SHAPES.items():
        torch.cuda.reset_peak_memory_stats()
        step = ours({**shape, "dropout": 0.0}, lanes, block, device, compiled=True, bf16=True)
        seconds = seconds_a_step({name: step}, rounds, device)[name]
        share = flops(shape, lanes, block) / seconds / peak
        memory = torch.cuda.max_memory_allocated() / 2**30
        print(f"| {name} | {lanes * block / seconds:,.0f} | {share:.0%} | {memory:.1f} GiB |")


def flops(shape: dict, lanes: int, block: int) -> float:
    """Of the matrix products of one training step: three times those of its forward pass.

    The whole block of scores counts, as kernels with a mask compute it.
    """
    width, keys = shape["d_model"], block + shape["memory"]
    layer = 2 * 12 * width**2 + 2 * 2 * keys * width
    return 3 * lanes * block * (shape["layers"] * layer + 2 * CLASSES * width)


def matrix_peak(device: torch.device) -> float:
    """FLOP/s of a large bf16 product, the best of ten."""
    a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(13):
        wait(device)
        begun = time.perf_counter()
        a @ a
        wait(device)
        best = min(best, time.perf_counter() - begun)
    return 2 * 8192**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["cpu", "bf16", "gpu"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if arguments.what == "gpu":
        gpu(arguments.rounds)
    else:
        {"cpu": cpu, "bf16": bf16}[arguments.what](arguments.rounds, compiled=arguments.compile)


if __name__ == "__main__":
    main()
