"""Which songs repeat another one, and train, valid and test sets that share no music.

lines.py            the skyline of each part, and the top line
ngrams.py           a song's n-grams, of its melodies and of its top line, hashed
fingerprint.py      both reduced to MinHash signatures
signature.py        what a stored signature is
clusters.py         songs -> clusters of duplicates, by bytes, exact music and signatures
pairs.py            the compiled half of it: when two songs are joined
representatives.py  clusters -> songs to train on
stored.py           reads what slices stored of their songs
splits.py           clusters -> train, valid or test
columns.py          all of it for a finished run: the index columns that depend on other songs
audit.py            search the finished dataset for songs in two splits, by other evidence
settings.py         when songs count as duplicates; the user's list of duplicates
"""
