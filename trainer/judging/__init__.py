"""`trainer judge`: generated samples compared with held-out songs, as music.

Files:
    music_metrics.py  numbers that describe one song: key, rhythm, texture, repetition
    distances.py      distance between samples and held-out songs, and a reference for it
    memorization.py   the longest run of notes that a song shares with a training song
    settings.py       how many samples, and how they are generated
    judge.py          judge one run; the table of several
    plot.py           the distributions as a picture
"""
