"""What a run writes to disk, and how it is read back. Nothing is pickled.

folder.py      the run folder: settings, vocabulary, metrics, checkpoints, samples
checkpoint.py  one checkpoint: tensors and state in a safetensors file
"""
