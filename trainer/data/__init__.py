"""Songs of a dataset -> batches of tensors.

selection.py   the songs of a split that a run trains on
sampler.py     which lane plays which song when
streams.py     the tokens of one playing of a song: as in the dataset, or varied
augment.py     songs transposed, at another tempo, or with fewer parts
sections.py    songs rearranged, so that bars or parts are written to what is given
conditions.py  what a song is to be, as numbers beside its tokens
batches.py     memory maps -> tensors: inputs and targets of a batch
prefetch.py    prepares the next batches in a thread
"""
