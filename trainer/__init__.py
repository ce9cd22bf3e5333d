"""A dataset in, a trained Transformer-XL out. Never imports the pipeline."""

import os

# Before torch is loaded: its CPU threads are to sleep while they wait for each other, not spin.
# On two cores with one other busy process, spinning trains the tiny preset at 600-780 tokens/s
# and sleeping at 5,000. Whoever knows better sets the variable.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
