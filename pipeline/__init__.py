"""MIDI files in, a dataset out: the offline half. Never imports torch."""

from pipeline.numba_cache import provide_cache

provide_cache()  # before the first kernel is imported
