"""Settings of the test tools themselves."""

import os

import hypothesis

# A busy machine is slow now and then; and the same examples on every machine, so that a failure
# in CI is the failure here.
hypothesis.settings.register_profile("lakhxl", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lakhxl")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores, as some tests wait: 220 s on two cores, not 287.

    Not two more, which take 240 s: each imports torch and makes datasets of its own.
    """
    return (os.cpu_count() or 1) + 1
