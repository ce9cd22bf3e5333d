"""Build the data of the reports; nothing here knows how it is displayed.

report.py             report.json, from index, ledger and note counts
findings.py           what wants attention, by weight, from the finished figures
folders.py            what became of the files of each folder
histograms.py         the table of distributions that the report shows
note_counts.py        counts per note and token, made by the workers
note_counts_json.py   those counts, named, as a part of report.json
rolls.py              the beginnings of a few songs, to be drawn
what_if.py            thresholds other than the current ones, and the songs they keep
compare.py            two datasets, figure by figure
timing.py             how long files took, kept beside the dataset
"""
