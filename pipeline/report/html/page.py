"""The report as one page: opens from disk, fetches nothing, runs nothing.

Every section is a function from the report to HTML; the charts are in `charts`, the look
in `style`. The page forbids itself all network and script by a content security policy.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.midi.events import REPAIRS
from pipeline.report.build.histograms import MEASURES
from pipeline.report.build.timing import TIMINGS_PAGE
from pipeline.report.build.what_if import SHARES, cells
from pipeline.report.html.note_charts import (
    blocks,
    durations,
    every_sound,
    grids,
    heat_map,
    mirror,
    sounding,
    velocities,
    vocabulary,
)
from pipeline.report.html.style import STYLE
from pipeline.report.html.svg import bars, histogram, key_name, name, text
from pipeline.report.number_format import count, digits, hours, share, short, words
from shards.layout import OUTCOMES, SPLITS

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
MOST_METERS = 10
FIFTHS = ("F#", "C#", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B")
MOST_SIZES = 8
WHAT_REPAIRED = {code: done for code, _, done in REPAIRS}
TIERS = {
    "strict": "read as they are",
    "tolerant": "read in spite of an error that loses nothing",
    "salvage": "read up to the damage",
}
LOSSES = {
    "notes_merged": ("notes", "same instrument, pitch and step as a longer note, which stays"),
    "notes_outside_map": ("notes", "percussion keys without a class in the vocabulary"),
    "durations_shortened": ("notes", "held longer than the longest duration token; cut, not lost"),
    "meters_dropped": ("meters", "not in the vocabulary; the one before goes on"),
}


def report_html(report: dict[str, Any]) -> str:
    """The report of `pipeline.report.build.report.measure_report` as a page of its own."""
    sections = (
        _head, _funnel, _splits, _rejected, _what_if, _lengths, _time, _sound, _fidelity,
        _vocabulary, _reading, _duplicates, _times, _foot,
    )  # fmt: skip
    body = "\n".join(part(report) for part in sections)
    return page(f"Dataset report: {count(_songs(report))} songs", body)


def page(title: str, body: str) -> str:
    """A whole page of HTML that fetches nothing and runs nothing."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{text(title)}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _songs(report: dict[str, Any]) -> int:
    return report["totals"]["representative"]["songs"]


def _head(report: dict[str, Any]) -> str:
    files, kept = report["funnel"][0]["files"], report["totals"]["kept"]["songs"]
    representative = report["totals"]["representative"]
    figures = (
        ("different songs", count(representative["songs"])),
        ("tokens", short(representative["tokens"])),
        ("of music", hours(representative["hours"])),
        ("notes", short(representative["notes"])),
        ("copies set aside", count(kept - representative["songs"])),
        ("files turned away", count(files - kept)),
    )
    items = "".join(f"<div><dt>{what}</dt><dd>{figure}</dd></div>" for what, figure in figures)
    return (
        f"<header><h1>{count(files)} files, {count(representative['songs'])} different songs</h1>"
        '<p class="lead">What was found, what was thrown away and why, and what is in the '
        f'dataset.</p><dl class="headline">{items}</dl></header>'
    )


def section(title: str, introduction: str, *parts: str) -> str:
    """A part of the page; title, introduction and parts are HTML already."""
    return f"<section><h2>{title}</h2><p>{introduction}</p>{''.join(parts)}</section>"


def _funnel(report: dict[str, Any]) -> str:
    labels = {
        "found": "Files found",
        "readable": "Readable",
        "kept": "Kept",
        "representative": "Different songs",
    }
    found, rows = report["funnel"][0]["files"], []
    for stage in report["funnel"]:
        rows.append((labels[stage["stage"]], stage["files"], "main"))
        rows += [(_why(reason), reason["files"], "lost") for reason in stage["lost"]]
    rows += [(split, report["totals"][split]["songs"], "part") for split in SPLITS]
    return section(
        "From files to songs",
        "Each coloured bar is what is left, each grey one what went there and why; they add up "
        "exactly. That a third of an archive is copies is normal; a third unreadable is not.",
        bars(rows, found),
    )


def _why(reason: dict[str, Any]) -> str:
    return words(reason["rule"] or reason["outcome"])


def _splits(report: dict[str, Any]) -> str:
    whole = report["totals"]["representative"]
    rows = []
    for label, key in (*((split, split) for split in SPLITS), ("together", "representative")):
        part = report["totals"][key]
        figures = (count(part["songs"]), count(part["tokens"]), count(part["notes"]),
                   count(part["bars"]), hours(part["hours"]),
                   share(part["tokens"], whole["tokens"]))  # fmt: skip
        rows.append((text(label), *figures))
    columns = ("", "songs", "tokens", "notes", "bars", "music", "of all tokens")
    return section(
        "Train, valid and test",
        "Drawn by cluster of copies, so that no near-copy of a training song is held out. Look "
        "at the tokens: a split of few songs can still be lopsided.",
        table(columns, rows),
    )


TEXT_COLUMNS = {"": "", "file": "file", "what": "what", "what became of it": "what", "split": ""}
"""Columns set flush left, with their class; all others hold numbers."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table of cells that are HTML already."""
    kinds = [TEXT_COLUMNS.get(column, "n") for column in columns]
    head = "".join(
        f'<th class="{kind}" scope="col">{column}</th>'
        for kind, column in zip(kinds, columns, strict=True)
    )
    lines = []
    for row in rows:
        cells = zip(kinds, row, strict=True)
        lines.append("".join(f'<td class="{kind}">{cell}</td>' for kind, cell in cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll"><table class="plain"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _rejected(report: dict[str, Any]) -> str:
    if not report["reasons"]:
        return section("Turned away", "Every file was kept.")
    return section(
        "Turned away",
        "A few files of each reason, evenly over the archive, with what was measured and the "
        "bound it broke. Listen to some: if good music is among them, the bound is too tight.",
        *(_samples(reason) for reason in report["reasons"]),
    )


def _samples(reason: dict[str, Any]) -> str:
    samples = reason["samples"]
    shown = {"path": "file", "bytes": "bytes", "value": "measured", "threshold": "bound",
             "detail": "what"}  # fmt: skip
    fields = [field for field in shown if any(sample[field] is not None for sample in samples)]
    rows = [[_cell(sample[field]) for field in fields] for sample in samples]
    return (
        f"<details><summary><b>{text(_why(reason))}</b> {count(reason['files'])} "
        f'<span class="note">{text(OUTCOMES.get(reason["outcome"], ""))}</span></summary>'
        f"{table([shown[field] for field in fields], rows)}</details>"
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return name(value)
    return count(int(value)) if value == int(value) else digits(value)


def _what_if(report: dict[str, Any]) -> str:
    shares = [f"{100 * part:g} %" for part in SHARES]
    return section(
        "What another bound would keep",
        "The bound that, by itself, would still keep a share of the different songs. Those of "
        "rules, named as their options, take another run; any of them can be put to use without "
        'one, as in <code>trainer fit --where "notes &gt;= 300 and instruments &gt;= 3"</code>. '
        "<code>pipeline what-if DATASET --where …</code> says what a condition keeps.",
        table(
            ("", "now", *shares), ([text(cell) for cell in cells(row)] for row in report["what_if"])
        ),
    )


def _charts(report: dict[str, Any], group: str, *more: str) -> str:
    drawn = [
        histogram(measure, report["distributions"][measure.name])
        for measure in MEASURES
        if measure.group == group
    ]
    return f'<div class="charts">{"".join([*drawn, *more])}</div>'


def _lengths(report: dict[str, Any]) -> str:
    return section(
        "How long songs are",
        "From here on, figures are of the different songs, copies left out, unless it says "
        "otherwise. The dashed line is the median; grey columns gather what lies beyond the axis.",
        _charts(report, "length"),
        "<h3>What a block of tokens makes of a song's end</h3>",
        blocks(report["blocks"]),
        '<p class="note">By tokens in a block and by the trainer\'s mode, over the songs in train: '
        "crop leaves a song's last, unfilled block out, pad fills it up with nothing, join goes "
        "on with the next song. The longer the block, the more crop and pad cost.</p>",
    )


def _time(report: dict[str, Any]) -> str:
    meters, songs = report["meters"], _songs(report)
    rows = [(meter, number, "") for meter, number in meters[:MOST_METERS]]
    rest = sum(number for _, number in meters[MOST_METERS:])
    if rest:
        rows.append((f"{len(meters) - MOST_METERS} others", rest, "copy"))
    return section(
        "Tempo and meter",
        "What is in force for most of a song.",
        _charts(report, "time"),
        "<h3>Meter</h3>",
        bars(rows, songs, longest=max((number for _, number, _ in rows), default=1)),
        '<p class="note">Files that state no meter count as 4/4; a share of 4/4 over 95 % means '
        "that most of them never said.</p>",
        "<h3>Key</h3>",
        _keys(report["keys"], songs),
        '<p class="note">The best fit to the notes that a song plays, in the order of fifths. '
        "Should be a hill over the keys with few sharps and flats; one tower is an archive that "
        "was transposed, an even floor is noise taken for music.</p>",
    )


def _keys(keys: list[list[Any]], songs: int) -> str:
    """Songs by key: major keys, and minor keys, each in the order of fifths."""
    found = dict(keys)
    longest = max(found.values(), default=1)
    blocks = ""
    for mode, mark in (("Major", ""), ("Minor", "m")):
        rows = [(tonic + mark, found.get(tonic + mark, 0), "") for tonic in FIFTHS]
        blocks += f"<div><h3>{mode}</h3>{bars(rows, songs, longest=longest)}</div>"
    return f'<div class="families keys">{blocks}</div>'


def _sound(report: dict[str, Any]) -> str:
    programs, songs, counts = report["programs"], _songs(report), report["counts"]
    families = [("Drums", programs["drum_songs"], "")]
    families += [(family, number, "") for family, number in programs["family_songs"].items()]
    families.sort(key=lambda row: -row[1])
    return section(
        "What plays",
        "How many songs use each family of instruments at least once. What is counted note by "
        "note, the map of pitches, loudness, notes sounding over time and how long notes are "
        "held, is of all kept files: workers count before copies are known.",
        bars(families, songs),
        '<p class="note">A family that few songs use is one that a model will play badly.</p>',
        f"<details open><summary><b>All {len(counts['instruments'])} sounds</b> "
        '<span class="note">songs in which each is heard, copies included</span></summary>'
        f"{every_sound(counts['instruments'], counts['songs'])}</details>",
        heat_map(counts["heat"]),
        _charts(
            report,
            "sound",
            _pitch_range(report["pitch"]),
            velocities(counts["velocities"]),
            sounding(counts["sounding"]),
            durations(counts["durations"], report["vocabulary"]["steps_per_beat"]),
        ),
    )


def _pitch_range(pitch: dict[str, list[int]]) -> str:
    """Songs by highest note, upwards, and by lowest note, downwards, over one keyboard."""
    return mirror(
        "Highest and lowest note of a song",
        (
            ("by highest note", pitch["pitch_high"], ""),
            ("by lowest note", pitch["pitch_low"], "quiet"),
        ),
        [(key, key_name(key)) for key in range(0, 128, 12)],
        key_name,
        "Highest notes above the line, lowest below, drums not counted. Both should be hills "
        "over the instruments' natural range; spikes at the ends (C-1, G9) are sound effects "
        "and key switches.",
        "songs",
    )


def _fidelity(report: dict[str, Any]) -> str:
    notes = report["totals"]["representative"]["notes"]
    rows = []
    for code, (unit, why) in LOSSES.items():
        loss = report["losses"][code]
        rate = digits(1e4 * loss["times"] / notes) if notes and unit == "notes" else ""
        rows.append((text(words(code)), count(loss["times"]), rate, count(loss["songs"]), why))
    silence = report["silence"]
    return section(
        "What tokens keep and lose",
        f"Onsets move to the nearest of {report['vocabulary']['steps_per_beat']} steps a quarter "
        f"note. {hours(silence['hours'])} of silence were taken out of {count(silence['songs'])} "
        f"songs, by whole bars. {count(report['unaligned'])} songs "
        f"({share(report['unaligned'], _songs(report))}) were played without a click, or to "
        "another tempo than the file's: their ticks have nothing to do with beats, and rhythm "
        'learnt from them is noise (<code>--where "not unaligned"</code>).',
        table(("", "times", "per 10,000 kept", "songs", "what"), rows),
        _controls(report),
        _charts(report, "fidelity"),
        "<h3>What another grid would do to onsets</h3>",
        grids(report["counts"]["grids"], report["vocabulary"]["steps_per_beat"]),
        '<p class="note">How far the onsets of the kept files lie from the nearest step, for '
        "grids that `--steps-per-beat` could name; this dataset's in bold. Take the coarsest "
        "whose bar is as dark as you want: each doubling costs more duration tokens. Listeners "
        "notice about 20 ms.</p>".replace("`--steps-per-beat`", "<code>--steps-per-beat</code>"),
    )


def _controls(report: dict[str, Any]) -> str:
    songs, tokens = _songs(report), report["totals"]["representative"]["tokens"]
    rows = [
        (text(words(name)), count(one["songs"]), share(one["songs"], songs), count(one["times"]),
         count(one["tokens"]), share(one["tokens"], tokens))
        for name, one in report["controls"].items()
    ]  # fmt: skip
    columns = ("", "songs", "of all", "changes", "tokens", "of all tokens")
    return (
        table(columns, rows) + '<p class="note">Pitch bend and modulation: the tokens are what '
        "they cost where <code>--controls</code> puts them into the stream, and would cost where "
        "not.</p>"
    )


def _vocabulary(report: dict[str, Any]) -> str:
    tokens = report["counts"]["tokens"]
    used = sum(one["used"] for one in tokens["kinds"])
    known = sum(one["tokens"] for one in tokens["kinds"])
    return section(
        "Which tokens are in use",
        f"{count(used)} of {count(known)} tokens occur in {short(tokens['total'])}, copies "
        "included. What occurs a dozen times will not be learnt; a kind that is mostly unused "
        "is a setting that is finer than the music.",
        vocabulary(tokens),
    )


def _times(report: dict[str, Any]) -> str:
    return section(
        "How long it took",
        "Everything on this page is the same for the same files and settings; times are not. "
        "The throughput of the run and its twenty slowest files are in the page beside the "
        f"dataset's folder, <code>NAME{TIMINGS_PAGE}</code>.",
    )


def _reading(report: dict[str, Any]) -> str:
    reading = report["reading"]
    files = sum(reading["tiers"].values())
    tiers = [(f"{tier}: {TIERS[tier]}", n, "") for tier, n in reading["tiers"].items()]
    repairs = [
        (WHAT_REPAIRED.get(code, words(code)), repair["files"], "copy")
        for code, repair in reading["repairs"].items()
    ]
    kits = [
        (text(words(one["decision"])), count(one["songs"]), count(one["notes"]))
        for one in report["counts"]["kits"]
    ]
    return section(
        "How files were read",
        "Of the files that could be read, kept or not. Repairs below are counted once a file; "
        "many files with one and the same repair come from one faulty program.",
        bars(tiers, files, kind="wide"),
        bars(repairs, files, longest=max((n for _, n, _ in repairs), default=1), kind="wide"),
        "<h3>What told that a drum kit plays, or that none does</h3>",
        table(("what", "songs", "notes"), kits),
        '<p class="note">Of the kept files, copies included. Channel 10 is a kit where nothing '
        "else is said; the others speak for other channels, or, ending in <i>off</i>, against "
        "channel 10. Many notes by name alone are worth a look.</p>",
    )


def _duplicates(report: dict[str, Any]) -> str:
    duplicates, kept = report["duplicates"], report["totals"]["kept"]["songs"]
    sizes = duplicates["sizes"]
    rows = [(_cluster_label(size), number, "") for size, number in sizes[:MOST_SIZES]]
    rest = sum(number for _, number in sizes[MOST_SIZES:])
    if rest:
        rows.append((f"more, up to {count(sizes[-1][0])} files", rest, "copy"))
    biggest = [
        (count(one["song"]), name(one["path"]), count(one["songs"]), count(one["contents"]),
         text(one["split"]))
        for one in duplicates["biggest"] if one["songs"] > 1
    ]  # fmt: skip
    columns = ("song", "file", "files", "different bytes", "split")
    return section(
        "Copies",
        f"{count(kept)} kept files are {count(duplicates['clusters'])} different songs. One "
        "with a click, read without repair, with most notes stands for its cluster.",
        bars(rows, duplicates["clusters"]),
        _verdict(duplicates),
        "<h3>The biggest clusters</h3>" + table(columns, biggest) if biggest else "",
        '<p class="note">A cluster of hundreds whose names have nothing in common is two '
        "songs wrongly joined, or a test file.</p>"
        if biggest
        else "",
    )


def _cluster_label(size: int) -> str:
    return "once" if size == 1 else f"{count(size)} files"


def _verdict(duplicates: dict[str, Any]) -> str:
    clusters, files = duplicates["clusters_in_two_splits"], duplicates["files_in_two_splits"]
    if clusters or files:
        said = (
            f"Leakage: {count(clusters)} clusters and {count(files)} files lie in more than one "
            "split. Figures measured on valid and test mean nothing."
        )
    else:
        said = "No copy or near-copy lies in two splits."
    return f'<p class="verdict">{said}</p>'


def _foot(report: dict[str, Any]) -> str:
    vocabulary = report["vocabulary"]
    return (
        f"<footer><p>Vocabulary {text(vocabulary['fingerprint'])}: {count(vocabulary['tokens'])} "
        f"tokens, {count(vocabulary['instruments'])} instrument classes, "
        f"{vocabulary['steps_per_beat']} steps a quarter note. The same figures for programs are "
        "in <code>report.json</code>; <code>pipeline show DATASET SONG</code> tells all about "
        "one song.</p></footer>"
    )
