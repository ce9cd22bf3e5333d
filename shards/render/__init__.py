"""A song for the eye and the ear; nothing here is part of the dataset format.

midi.py         a MIDI file that any player plays
pianoroll.py    a PNG picture
audio.py        a .wav file, played by FluidSynth with a soundfont (extra `audio`)
song_file.py    any of them, chosen by the file's suffix
"""
