"""Reports as text for a terminal of 80 columns.

summary.py   the report on one screen
what_if.py   thresholds, and the songs they keep
compare.py   two datasets in columns
"""
