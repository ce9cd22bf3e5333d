"""Settings of the test tools themselves."""

import hypothesis

# A busy machine is slow now and then; and the same examples on every machine, so that a failure
# in CI is the failure here.
hypothesis.settings.register_profile("lakhxl", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lakhxl")
