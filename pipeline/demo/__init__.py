"""Compose a corpus of songs, with faulty files among them: `pipeline demo`.

Nothing is downloaded and nothing copyrighted is shipped, so a fresh checkout can be tried,
tested and timed without a data set.

    randomness.py   random generators keyed by (seed, song)
    rhythm.py       pulses, meters, rhythms written as strings
    harmony.py      modes, Roman numerals, chord progressions, voicings
    genres.py       tables: rhythms of bass, chords and drums, and what each genre chooses from
    melody.py       motifs, phrases, a second voice
    backing.py      bass, chords, pad, arpeggio, drums
    composer.py     the choices of one song, its sections and their arrangement
    score.py        a composed piece as the bytes of a MIDI file
    faults.py       the faulty and duplicate files
    corpus.py       the folder, complete or not at all
"""

from pipeline.demo.corpus import DemoSettings, DemoSummary, compose_corpus, is_demo
from pipeline.demo.faults import Planted

__all__ = ["DemoSettings", "DemoSummary", "Planted", "compose_corpus", "is_demo"]
