"""The comparison of two datasets as a page: the tables, and every distribution of both."""

from pipeline.report.compute.compare import Side, compare
from pipeline.report.compute.histograms import MEASURES
from pipeline.report.html.svg import overlaid_chart
from pipeline.report.html.templating import render


def compare_html(a: Side, b: Side) -> str:
    """The comparison as a page."""
    in_a, in_b = (side.report["distributions"] for side in (a, b))
    charts = [overlaid_chart(one, in_a[one.name], in_b[one.name]) for one in MEASURES]
    songs = [side.report["totals"]["representative"]["songs"] or 1 for side in (a, b)]
    families = [side.report["programs"]["family_songs"] for side in (a, b)]
    rows = [
        (name, *(of[name] / n for of, n in zip(families, songs, strict=True)))
        for name in families[0]
    ]
    tables = compare(a, b)
    del tables["share of songs with"]  # a chart here
    return render(
        "compare.html",
        a=a,
        b=b,
        tables=tables,
        charts=charts,
        families=sorted(rows, key=lambda row: (-max(row[1:]), row[0])),
    )
