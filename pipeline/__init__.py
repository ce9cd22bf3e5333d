"""MIDI files in, a dataset out: the offline half. Never imports torch."""
