"""A corpus composed on the spot, with planted faults: `pipeline demo`.

Nothing is downloaded and nothing copyrighted is shipped, so a fresh checkout can be tried,
tested and timed without a data set.

    chance.py    dice keyed by (seed, song)
    rhythm.py    pulses, meters, rhythms written as strings
    harmony.py   modes, Roman numerals, progressions, voicings
    melody.py    motifs, phrases, a second voice
    backing.py   bass, chords, pad, arpeggio
    drums.py     grooves and fills
    genres.py    what tells a waltz from a funk tune
    composer.py  song form and arrangement
    score.py     a piece as the bytes of a MIDI file
    damage.py    bytes and pieces, spoiled in one named way
    faults.py    which faults are planted, and under which names
    corpus.py    the folder, all or nothing
"""

from pipeline.demo.corpus import DemoSettings, DemoSummary, compose_corpus, is_demo
from pipeline.demo.faults import Planted

__all__ = ["DemoSettings", "DemoSummary", "Planted", "compose_corpus", "is_demo"]
