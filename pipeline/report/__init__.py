"""Reports to read before spending GPU time.

build/             the data: report.json, timings, what-if tables, comparisons
html/              pages for a browser
terminal/          text for a terminal
schema.py          what report.json holds
read_report.py     reads it back, checked
number_format.py   how all of them write numbers
"""
