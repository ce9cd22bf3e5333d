"""What the trainer asks of the C library."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from trainer.device import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        [torch.zeros(2**24) for _ in range(2)]  # 64 MB: glibc maps each by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
first = faults()
keep_freed_memory(torch.device(sys.argv[1]))
faults()
print(first, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc")
@pytest.mark.parametrize(("device", "is_kept"), [("cpu", True), ("meta", False)])
def test_tensors_that_come_and_go_take_the_same_pages_on_a_cpu(device, is_kept):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, device], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before > 200  # of whatever size a page is
    assert (after < before / 100) == is_kept
