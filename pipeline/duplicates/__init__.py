"""Which songs repeat another one, and train, valid and test sets that share no music.

fingerprint.py  a song's melodic n-grams and their MinHash signature
clusters.py     songs -> clusters of duplicates, by bytes, exact music and signatures
splits.py       clusters -> train, valid or test
columns.py      all of it for a finished run: the index columns that depend on other songs
audit.py        search the finished dataset for duplicates across splits
settings.py     when songs count as duplicates; the user's list of duplicates
"""
