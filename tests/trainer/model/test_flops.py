import pytest
import torch

from trainer import device as devices
from trainer import presets
from trainer.model.flops import flops_per_token
from trainer.model.transformer import TransformerXL


@pytest.mark.parametrize(("name", "gigaflops"), [("small", 0.193), ("base", 0.91)])
def test_the_presets_take_what_their_sizes_say(name, gigaflops):
    config = presets.preset(name)
    with torch.device("meta"):
        model = TransformerXL(config.model)
    found = flops_per_token(model, config.model, config.train.block_size)
    assert found / 1e9 == pytest.approx(gigaflops, rel=0.01)


def test_the_count_written_out(make_model):
    model = make_model(layers=3, d_model=16, memory=12)
    heads = 16 * (model.config.vocab_size + 16 + 128)  # the instrument head mixes first
    weights = 3 * (4 + 2 * 4) * 16**2 + heads
    assert flops_per_token(model, model.config, 7) == 6 * weights + 12 * 3 * 16 * (12 + 4)
    narrow = make_model(layers=3, d_model=16, memory=12, window=5)
    assert flops_per_token(narrow, narrow.config, 7) == 6 * weights + 12 * 3 * 16 * 5


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("Some GPU of next year", None),
    ],
)
def test_a_gpu_is_known_by_its_name(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    cuda = torch.device("cuda")
    assert devices.peak_flops(cuda, torch.bfloat16) == peak
    assert devices.peak_flops(cuda, torch.float32) is None
    assert devices.peak_flops(torch.device("cpu"), torch.bfloat16) is None
