"""What a run writes to disk, and how it is read back. Nothing is pickled.

folder.py      the run folder: settings, vocabulary, metrics, checkpoints, samples
checkpoint.py  one checkpoint: tensors and state in a safetensors file
expected.py    which tensors a checkpoint must hold, from the settings alone
lock.py        one training at a time writes a run folder
"""
