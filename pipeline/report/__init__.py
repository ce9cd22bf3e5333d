"""What people read before they spend GPU time.

tally.py timings.py    what workers count of every note, and how long files took
measure.py measures.py tallied.py counts.py figures.py   report.json
page.py charts.py style.py times_page.py terminal.py file.py   pages, terminal; read back
what_if.py compare.py show.py   other bounds; two datasets; one song
"""
