"""Copies and near-copies among the songs, and splits that keep them together.

clusters.py duplicates.py   which songs are copies; the settings, and an outside list
splits.py      train, valid or test, by cluster
audit.py       what all of that came to
"""
