"""Settings of the test tools themselves."""

import gc
import os

import hypothesis

# A busy machine is slow now and then; and the same examples on every machine, so that a failure
# in CI is the failure here.
hypothesis.settings.register_profile("lakhxl", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lakhxl")

# Models this small are slower with two threads, in processes that tests start too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The half a million objects of torch and other libraries stay: no collection need look at them.
gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage as usual from now on."""
    gc.freeze()
    gc.enable()
