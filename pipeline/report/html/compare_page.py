"""The comparison of two datasets as a page: the tables, and every distribution of both."""

from pipeline.report.compute.compare import Side, compare
from pipeline.report.compute.histograms import MEASURES
from pipeline.report.html.svg import distribution_chart
from pipeline.report.html.templating import render


def compare_html(a: Side, b: Side) -> str:
    """The comparison as a page."""
    sides = (a, b)
    charts = [
        (side.name, distribution_chart(measure, side.report["distributions"][measure.name]))
        for measure in MEASURES
        for side in sides
    ]
    families = [
        (
            side.name,
            [(name, songs, "") for name, songs in side.report["programs"]["family_songs"].items()],
            side.report["totals"]["representative"]["songs"],
        )
        for side in sides
    ]
    tables = compare(a, b)
    return render("compare.html", a=a, b=b, tables=tables, charts=charts, families=families)
