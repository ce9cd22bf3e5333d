"""What in a report wants attention, with what to do about it: a table of checks.

A check reads the finished figures and measures nothing. It says how many files or songs are
concerned, and names the section of report.html that shows more.

Conventions
    weight   how serious (MISLEADS, LOSES or NOTE), plus the share of files or songs concerned,
             below 1: sorted by it, the worst come first, and among equals the largest
"""

from collections.abc import Callable, Iterator
from itertools import chain

from pipeline.duplicates.splits import SplitSettings
from pipeline.report.number_format import count, digits, hours, reason_name, share, words
from pipeline.report.schema import Finding, FolderUse, Reason, Report, leaks
from shards.layout import SPLITS
from shards.text import counted, visible

MISLEADS, LOSES, NOTE = 3, 2, 1
"""What is measured on the dataset misleads; the model learns less or wrongly; the rest."""

MIN_SONGS = 20
"""Below, shares of songs, files or a folder's songs say nothing."""
MIN_HELD_OUT = 16
"""`trainer judge` compares samples with no fewer songs."""
METER_SHARE = 0.05
"""Rarer ones are lacking by chance: of draws of 60 songs 5 % have none of a meter of 5 %."""
RULE_SHARE = 0.05
"""Of 2,500 real files all rules together reject fewer."""
UNREAD_SHARE = 0.005
"""Of real files about one in 200 is damaged or no MIDI file, for each reason."""
ALARMING_SHARE = 0.05
"""So many unreadable files are a broken download or archive."""
SALVAGED_SHARE = 0.005
REPAIRED_SHARE = 0.01
SILENCE_SHARE = 0.05
"""Of all time. Real files lose 0.6 % of theirs."""
COPIES_SHARE, NEAR_SHARE = 0.005, 0.01
"""Of 600 real songs 0.5 % are exact copies and 0.7 % near-duplicates."""
CLUSTER_SONGS, CLUSTER_SHARE = 20, 0.01
"""A cluster is large that has more songs than both."""
FOLDER_SHARE = 0.5
"""With more, one folder outweighs all others together."""
FOLDER_LOSS, FOLDER_LOSS_RATIO = 0.1, 3
"""A folder's loss counts from here on, if it is so many times that of the other folders."""
OFF_GRID_MS = 5.0
"""A quarter of a step at 120 beats per minute and 24 steps: the median of onsets that ignore it."""
TEMPO_SHARE = 0.15
"""Of 600 real songs 7 % have a tempo of 120, and 3 % any other."""
ONE_METER_SHARE = 0.95
UNALIGNED_SHARE = 0.1
"""Of 600 real songs 2 % are."""
FLAT_BINS, FLAT_SHARE = 2, 0.3
"""Songs of at most so many velocity bins; of 600 real songs 22 %."""
MERGED_SHARE = 0.06
"""Of notes; 4 % of those of 600 real songs, whose tracks double each other."""
UNMAPPED_SHARE = 0.01
"""Of notes; 0.1 % of those of 600 real songs."""
LONGEST_NAME = 24
MAX_NAMED = 4


GIVEN_UP = {
    "timeout": (
        "took too long",
        "Try them again with a longer `--file-timeout`, on a machine less busy.",
    ),
    "crash": (
        "killed the worker",
        "A bug of the reader, or a worker that was killed from outside: try them again.",
    ),
    "out_of_memory": (
        "ran out of memory",
        "Try them again with a higher `--memory-limit`.",
    ),
}
"""Outcomes that depend on the machine, or on a bug: any number is worth a look."""
NOT_READ = {
    "unreadable": (
        "could not be read",
        "Look at the examples: a few are normal, many are a broken download, or other files under "
        "a MIDI name.",
    ),
    "refused": (
        "not opened",
        "The examples say why: unpack or convert what holds music, or name it as a source of its "
        "own.",
    ),
}


def findings(report: Report, split: SplitSettings) -> list[Finding]:
    """Everything that wants attention, the greatest weight first.

    Args:
        report: complete but for its findings.
        split: how songs were held out: a split that was not asked for may be empty.
    """
    found = chain(_held_out(report, split), *(check(report) for check in CHECKS))
    return sorted(found, key=lambda one: (-one["weight"], one["code"], one["title"]))


def _finding(code: str, level: int, part: float, title: str, advice: str, anchor: str) -> Finding:
    weight = round(level + min(part, 0.999), 3)
    return {"code": code, "weight": weight, "title": title, "advice": advice, "anchor": anchor}


def _held_out(report: Report, split: SplitSettings) -> Iterator[Finding]:
    songs = _songs(report)
    wanted = [name for name in SPLITS if getattr(split, name, 1)]
    for name in wanted if songs else ():
        held = report["totals"][name]["songs"]
        if held < MIN_HELD_OUT:
            advice = (
                "There is nothing to train on: add songs, or hold fewer out."
                if name == "train"
                else f"Too few to judge by: `trainer judge` wants {MIN_HELD_OUT}. Hold more out "
                f"(`--{name} {min(max(0.1, 2 * getattr(split, name)), 0.4):g}`), or add songs."
            )
            title = f"{name} holds {counted(held, 'song')}"
            yield _finding(
                "small_split", MISLEADS, 1 - held / MIN_HELD_OUT, title, advice, "splits"
            )


def _missing_meters(report: Report) -> Iterator[Finding]:
    songs = _songs(report)
    frequent = {m: n for m, n in report["meters"].items() if n >= max(METER_SHARE * songs, 1)}
    for name in ("valid", "test"):
        in_split = report["split_meters"][name]
        missing = [meter for meter in frequent if meter not in in_split]
        if in_split and missing:
            part = sum(frequent[meter] for meter in missing)
            yield _finding(
                "missing_meter", MISLEADS, part / songs,
                f"{name} has no song in {_listed(missing)} ({share(part, songs)} of all songs)",
                f"What is measured on {name} says nothing about them: hold more songs out "
                f"(`--{name}`), or draw again (`--split-salt`).",
                "splits",
            )  # fmt: skip


def _leakage(report: Report) -> Iterator[Finding]:
    if leaked := leaks(report["duplicates"]):
        yield _finding(
            "leakage", MISLEADS, 0.999, f"{count(leaked)} duplicates across splits",
            "What is measured on valid and test means nothing. `pipeline audit` names the songs; "
            "make the dataset again.",
            "duplicates",
        )  # fmt: skip


def _lost_files(report: Report) -> Iterator[Finding]:
    files, few = report["funnel"][0]["files"], []
    for reason in report["reasons"]:
        part, outcome = reason["files"] / files, reason["outcome"]
        if outcome == "rejected" and part < RULE_SHARE:
            few.append(reason)
        elif outcome == "rejected":
            yield _rejected(report, reason, part)
        elif outcome in GIVEN_UP or part >= UNREAD_SHARE:
            yield _unread(reason, files)
    if few:
        lost = sum(reason["files"] for reason in few)
        names = _listed([f"{reason_name(reason)} {count(reason['files'])}" for reason in few])
        yield _finding(
            "rejected", NOTE, lost / files, f"rejected files: {_part(lost, files)}: {names}",
            "Listen to the examples: if good music is among them, a threshold is too strict.",
            "not-kept",
        )  # fmt: skip


def _unread(reason: Reason, files: int) -> Finding:
    outcome, part = reason["outcome"], reason["files"] / files
    what, advice = {**GIVEN_UP, **NOT_READ}[outcome]
    level = LOSES if outcome in GIVEN_UP or part >= ALARMING_SHARE else NOTE
    name = f": {words(reason['rule'])}" if reason["rule"] else ""
    title = f"{_files(reason['files'], files)} {what}{name}"
    return _finding("unread", level, part, title, advice, "not-kept")


def _rejected(report: Report, reason: Reason, part: float) -> Finding:
    settings = {row["rule"]: row["setting"] for row in report["what_if"]}
    option = (settings.get(reason["rule"]) or "").replace("_", "-")
    return _finding(
        "rule", LOSES, part,
        f"{share(part, 1)} of files rejected by one rule: {reason_name(reason)}",
        "Listen to the examples: if they are music, loosen the rule"
        + (f" (`--{option}`)." if option else "."),
        "not-kept",
    )  # fmt: skip


def _reading(report: Report) -> Iterator[Finding]:
    tiers = report["reading"]["tiers"]
    readable = sum(tiers.values())
    if tiers["salvage"] > SALVAGED_SHARE * readable:
        yield _finding(
            "salvaged", NOTE, tiers["salvage"] / readable,
            f"damaged files, read up to the damage: {_part(tiers['salvage'], readable)}",
            "What was kept may stop in the middle; "
            "`--where \"tier <> 'salvage'\"` leaves these songs out.",
            "reading",
        )  # fmt: skip
    if tiers["tolerant"] > REPAIRED_SHARE * readable:
        yield _finding(
            "repaired", NOTE, tiers["tolerant"] / readable,
            f"{_files(tiers['tolerant'], readable)} broke the MIDI standard and were repaired",
            "No music is lost. Many files with the same repair come from one faulty program.",
            "reading",
        )  # fmt: skip


def _silence(report: Report) -> Iterator[Finding]:
    silence, music = report["silence"], report["totals"]["representative"]["hours"]
    whole = silence["hours"] + music
    if silence["hours"] > SILENCE_SHARE * whole:
        yield _finding(
            "silence", NOTE, silence["hours"] / whole,
            f"{hours(silence['hours'])} of silence cut from {counted(silence['songs'], 'song')}",
            "Hours in one song are a faulty file. Sort by silence_seconds in `pipeline browse`, "
            "and listen to what is left of them.",
            "tokens",
        )  # fmt: skip


def _duplicates(report: Report) -> Iterator[Finding]:
    kept = report["totals"]["kept"]["songs"]
    lost = {reason["rule"]: reason["files"] for reason in report["funnel"][2]["lost"]}
    same, near = lost.get("identical_file", 0), lost.get("near_duplicate", 0)
    if same > COPIES_SHARE * kept:
        yield _finding(
            "copies", NOTE, same / kept, f"exact copies of other files: {_part(same, kept)}",
            "One of each is trained on. A source that was added twice shows here.",
            "duplicates",
        )  # fmt: skip
    if near > NEAR_SHARE * kept:
        yield _finding(
            "near_duplicates", NOTE, near / kept,
            f"near-duplicates of other songs: {_part(near, kept)}",
            "One of each is trained on. If the largest clusters join different songs, raise "
            "`--similarity`.",
            "duplicates",
        )  # fmt: skip
    largest = max((one["songs"] for one in report["duplicates"]["largest"]), default=0)
    if largest > max(CLUSTER_SONGS, CLUSTER_SHARE * kept):
        yield _finding(
            "large_cluster", LOSES, largest / kept,
            f"one cluster of duplicates holds {_files(largest, kept)}",
            "Two songs wrongly joined, or a test file: look at its names in `pipeline browse`, and "
            "raise `--similarity` if they differ.",
            "duplicates",
        )  # fmt: skip


def _folders(report: Report) -> Iterator[Finding]:
    rows = [row for row in report["folders"] if row["folder"] is not None]
    files = report["funnel"][0]["files"]
    if len(report["folders"]) < 2:
        return
    for row in rows:
        name, part = visible(row["folder"], LONGEST_NAME), row["files"] / files
        if part > FOLDER_SHARE and files >= MIN_SONGS:
            yield _finding(
                "folder", LOSES, part, f"one folder holds {share(part, 1)} of files: {name}",
                "The model will sound like it. Add other music, or train on fewer of its songs "
                "(`--where`).",
                "folders",
            )  # fmt: skip
        yield from _losing_folder(report, row, name)
        yield from _off_grid_folder(report, row, name)


def _losing_folder(report: Report, row: FolderUse, name: str) -> Iterator[Finding]:
    others = [other for other in report["folders"] if other is not row]
    lost, lost_elsewhere = row["files"] - row["kept"], sum(o["files"] - o["kept"] for o in others)
    if row["files"] < MIN_SONGS:
        return
    part, elsewhere = lost / row["files"], lost_elsewhere / max(sum(o["files"] for o in others), 1)
    if part >= max(FOLDER_LOSS, FOLDER_LOSS_RATIO * elsewhere):
        yield _finding(
            "losing_folder", NOTE, lost / report["funnel"][0]["files"],
            f"{share(part, 1)} of {name} was not kept, {share(elsewhere, 1)} of the rest",
            "Look at what it is: another format, a broken copy, or a kind of music that a rule "
            "dislikes.",
            "folders",
        )  # fmt: skip


def _off_grid_folder(report: Report, row: FolderUse, name: str) -> Iterator[Finding]:
    songs, error = sum(row["split_songs"].values()), row["onset_error_ms"]
    if error is not None and error >= OFF_GRID_MS and songs >= MIN_SONGS:
        yield _finding(
            "off_grid_folder", LOSES, songs / _songs(report),
            f"onsets of {name} lie {digits(error)} ms off the grid",
            "It was played live, or its tempos are wrong: leave it out "
            '(`--where "not unaligned"`), or take a finer grid (`--steps-per-beat`).',
            "folders",
        )  # fmt: skip


def _tempo_and_meter(report: Report) -> Iterator[Finding]:
    songs, tempo, meters = _songs(report), report["tempo"], report["meters"]
    if songs < MIN_SONGS:
        return
    if tempo["songs"] > TEMPO_SHARE * songs:
        yield _finding(
            "common_tempo", LOSES, tempo["songs"] / songs,
            f"{share(tempo['songs'], songs)} of songs share a tempo of {tempo['bpm']}",
            "120 is the tempo of files that state none, so their bars may not be those of the "
            "music: listen to some."
            if tempo["bpm"] == 120
            else "One program may have written them all: listen to some.",
            "tempo",
        )  # fmt: skip
    meter, most = next(iter(meters.items()))
    if most > ONE_METER_SHARE * songs:
        yield _finding(
            "one_meter", NOTE, most / songs, f"{share(most, songs)} of songs are in {meter}",
            "4/4 is the meter of files that state none, so bar lines may be wrong: listen to some."
            if meter == "4/4"
            else "The model will know no other.",
            "tempo",
        )  # fmt: skip


def _music(report: Report) -> Iterator[Finding]:
    songs, unaligned = _songs(report), report["unaligned_songs"]
    velocities = report["distributions"]["velocities"]
    bins = zip(velocities["edges"], velocities["counts"], strict=False)
    flat = sum(found for edge, found in bins if edge <= FLAT_BINS)
    if songs < MIN_SONGS:
        return
    if unaligned > UNALIGNED_SHARE * songs:
        yield _finding(
            "unaligned", LOSES, unaligned / songs,
            f"{share(unaligned, songs)} of songs follow no beat",
            "Rhythm learnt from them is noise; "
            '`trainer fit --where "not unaligned"` leaves them out.',
            "tokens",
        )  # fmt: skip
    if flat > FLAT_SHARE * songs:
        yield _finding(
            "flat_velocities", NOTE, flat / songs,
            f"{share(flat, songs)} of songs have one or two velocities",
            "Nobody played them, so they teach no dynamics; "
            f'`trainer fit --where "velocities > {FLAT_BINS}"` leaves them out.',
            "instruments",
        )  # fmt: skip


def _lost_notes(report: Report) -> Iterator[Finding]:
    notes = report["totals"]["representative"]["notes"]
    merged, unmapped = (report["losses"][f"notes_{why}"] for why in ("merged", "outside_map"))
    if merged["occurrences"] > MERGED_SHARE * notes:
        yield _finding(
            "merged", LOSES, merged["occurrences"] / notes,
            f"{share(merged['occurrences'], notes)} of notes merged into another on the same step",
            "Tracks that are written twice, or a grid too coarse for trills and rolls "
            "(`--steps-per-beat`).",
            "tokens",
        )  # fmt: skip
    if unmapped["occurrences"] > UNMAPPED_SHARE * notes:
        yield _finding(
            "unmapped", LOSES, unmapped["occurrences"] / notes,
            f"{share(unmapped['occurrences'], notes)} of notes are drums outside the map",
            "Drum tracks that are none, or kits of another standard: see how drum tracks were "
            "detected.",
            "tokens",
        )  # fmt: skip


CHECKS: tuple[Callable[[Report], Iterator[Finding]], ...] = (
    _leakage,
    _missing_meters,
    _lost_files,
    _reading,
    _silence,
    _duplicates,
    _folders,
    _tempo_and_meter,
    _music,
    _lost_notes,
)


def _songs(report: Report) -> int:
    return report["totals"]["representative"]["songs"]


def _files(part: int, whole: int) -> str:
    return f"{counted(part, 'file')} ({share(part, whole)})"


def _part(part: int, whole: int) -> str:
    return f"{count(part)} ({share(part, whole)})"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:MAX_NAMED])
    return f"{shown} and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else shown
