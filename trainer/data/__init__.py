"""Songs of a dataset -> batches of tensors.

selection.py   the songs of a split that a run trains on
sampler.py     which lane plays which song when
batches.py     memory maps -> tensors: inputs and targets of a batch
prefetch.py    prepares the next batches in a thread
"""
