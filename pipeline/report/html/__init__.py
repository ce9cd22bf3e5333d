"""Pages that open from disk, fetch nothing and run no script.

report_page.py    report.html of a dataset
timing_page.py    the page of a run's timings
compare_page.py   the page of `pipeline compare`
note_charts.py    the report's charts of single notes
roll_chart.py     small piano rolls
svg.py            histograms and what all charts are made of
templating.py     Jinja templates with escaping, numbers and charts
templates/        the text and structure of the pages
style.css         the style of these pages and of `pipeline browse`
"""
