"""Compose a corpus of songs, with faulty files among them: `pipeline demo`.

Nothing is downloaded and nothing copyrighted is shipped, so a fresh checkout can be tried,
tested and timed without a data set.

    randomness.py   random generators keyed by (seed, song)
    rhythm.py       pulses, meters, rhythms written as strings
    harmony.py      modes, Roman numerals, chord progressions, voicings
    melody.py       motifs, phrases, a second voice
    backing.py      bass, chords, pad, arpeggio
    drums.py        grooves and fills
    genres.py       the choices that each genre offers
    plan.py         the choices of one song
    composer.py     sections, song form and arrangement
    score.py        a composed piece as the bytes of a MIDI file
    damage.py       damaged and changed versions of a song, as bytes
    faults.py       the faulty and duplicate files, and their names
    corpus.py       the folder, complete or not at all
"""

from pipeline.demo.corpus import DemoSettings, DemoSummary, compose_corpus, is_demo
from pipeline.demo.faults import Planted

__all__ = ["DemoSettings", "DemoSummary", "Planted", "compose_corpus", "is_demo"]
