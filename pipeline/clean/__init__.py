"""Recording -> Song -> tokens: quantize, remove silence, measure, reject, encode.

quantize.py       ticks -> grid steps, everything in the vocabulary
order.py          compiled: notes onto the grid, into canonical order, repeated notes merged
grid_controls.py  compiled: pitch bend and modulation onto the grid
grid_fit.py       compiled: onset errors and beat alignment
heard.py          leave out silent notes, apply the pedal, repair the beat
beat.py           give a recording a beat that its onsets follow
silence.py        remove long silences by whole bars
silence_kernels.py  compiled: where nothing sounds, and closing gaps
silence_settings.py  how much silence may stay
loops.py          find a loop that was written out, keep its first turns
loop_settings.py  how many of them
features.py       the columns of index.arrow that describe a song
feature_kernels.py  the compiled counting behind features.py
rules.py          the table of rules that reject songs, and their limits
encode.py         compiled: Song -> token arrays, equal to shards.codec
"""
