"""The names of the 24 keys, in the index of a dataset and in what a model is asked."""

TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
"""By pitch class, as they are most often spelled."""
KEYS = (*TONICS, *(f"{tonic}m" for tonic in TONICS))
"""The major keys, then the minor ones."""
