"""What a stored signature is; kept apart so that the run's own process need not load numba.

A signature has BINS bins; a bin is one of as many equal ranges of hash values, selected by the
highest bits. It holds the smallest hash of any n-gram in its range, reduced to sixteen bits, and
that n-gram's place: the first time it starts, as a share of the song in 65,535ths. The share of
bins whose hashes are equal in two songs estimates the Jaccard similarity of their sets of n-grams,
with a standard error of at most 0.031.
"""

import numpy as np

BINS = 256
LAST_PLACE = 0xFFFF
SIGNATURE = np.dtype([("hashes", "<u2", BINS), ("places", "<u2", BINS)])
KINDS = ("melodies", "top_line")
"""The kinds of signatures, by what their n-grams are of; see `pipeline.duplicates.ngrams`."""
