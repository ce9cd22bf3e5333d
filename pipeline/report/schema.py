"""report.json: what it holds, key by key, and its version.

Conventions
    representative   a song that is trained on, the best of its cluster or a cover; unless a key
                     says otherwise, figures are of the representative songs
    *_songs, songs   number of songs; `files` likewise
"""

from typing import TypedDict

REPORT_VERSION = 7

LOSSES = {
    "notes_merged": ("notes", "same instrument, pitch and step as a longer note, which stays"),
    "notes_outside_map": ("notes", "percussion keys without a class in the vocabulary"),
    "durations_shortened": ("notes", "held longer than the longest duration token; cut, not lost"),
    "meters_dropped": ("meters", "not in the vocabulary; the one before goes on"),
}
"""Columns of the index that count what the tokens do not keep: the unit, and what it means."""


class VocabularySize(TypedDict):
    """The vocabulary that the dataset is encoded with."""

    tokens: int
    instruments: int
    steps_per_beat: int
    fingerprint: str


class Reason(TypedDict):
    """Why files leave the funnel; `rule` is None where the outcome alone is the reason."""

    outcome: str
    rule: str | None
    files: int


class Example(TypedDict):
    """One of the files that a reason removed: a part of its row in the ledger."""

    path: str
    bytes: int | None
    value: float | None
    threshold: float | None
    detail: str | None


class ReasonWithExamples(Reason):
    """A reason, and a few of its files, spread evenly over the ledger."""

    examples: list[Example]


class Stage(TypedDict):
    """A stage of the funnel (found, readable, kept, representative), and what the next lacks."""

    stage: str
    files: int
    lost: list[Reason]


class Total(TypedDict):
    """Size of a set of songs."""

    songs: int
    tokens: int
    notes: int
    bars: int
    hours: float


class Distribution(TypedDict):
    """A histogram; bin k holds edges[k] <= value < edges[k + 1].

    `below`, `counts` and `above` add up to `songs`; the statistics are None where `songs` is 0.
    """

    songs: int
    edges: list[float]
    counts: list[int]
    below: int
    above: int
    min: float | None
    p5: float | None
    median: float | None
    mean: float | None
    p95: float | None
    max: float | None


class Programs(TypedDict):
    """Songs that use each program, and each family of programs, with Drums last."""

    songs: dict[str, int]
    family_songs: dict[str, int]


class Loss(TypedDict):
    """How often something happened, and in how many songs."""

    occurrences: int
    songs: int


class Control(Loss):
    """Changes of a controller, and the tokens that they cost, or would cost if encoded."""

    tokens: int


class Silence(TypedDict):
    """Silence removed."""

    songs: int
    hours: float


class Threshold(TypedDict):
    """The tightest threshold that keeps at least `share` of the songs; None where none does."""

    share: float
    threshold: float | None
    songs: int | None


class RejectedFiles(TypedDict):
    """Files that a rule rejected, and the values nearest to and furthest from its threshold."""

    files: int
    nearest: float | None
    furthest: float | None


class WhatIf(TypedDict):
    """One line of the what-if table; rule, setting, current and rejected are None without a rule.

    `expression` is SQL over the index, `comparison` >= or <=.
    """

    expression: str
    comparison: str
    rule: str | None
    setting: str | None
    current: float | None
    thresholds: list[Threshold]
    rejected: RejectedFiles | None


class Repair(TypedDict):
    """Files in which a repair was made, and how often in all of them together."""

    files: int
    occurrences: int


class Reading(TypedDict):
    """How the readable files were read, kept or not: files by tier, repairs by code."""

    tiers: dict[str, int]
    repairs: dict[str, Repair]


class Cluster(TypedDict):
    """A large cluster, by its representative song."""

    songs: int
    distinct_files: int
    song: int
    path: str
    split: str


class Duplicates(TypedDict):
    """Clusters of duplicates; `sizes` are pairs (songs in a cluster, clusters).

    `covers` are the representatives beyond one per cluster.
    """

    clusters: int
    covers: int
    sizes: list[list[int]]
    largest: list[Cluster]
    clusters_in_two_splits: int
    files_in_two_splits: int


class BlockUse(TypedDict):
    """What happens to the ends of training songs when they are cut into blocks of tokens.

    A song of n tokens has n - 1 inputs: tokens with a next one. `cropped` inputs and
    `songs_cropped` whole songs are skipped in mode crop; `padded` positions are empty in mode
    pad. Mode join loses and pads nothing.
    """

    block_size: int
    inputs: int
    cropped: int
    songs_cropped: int
    padded: int


class TokenKind(TypedDict):
    """A kind of token: how many there are, how many are used, and how often."""

    kind: str
    tokens: int
    used: int
    occurrences: int


class RareToken(TypedDict):
    """One of the least frequent tokens that occur."""

    name: str
    occurrences: int
    songs: int


class TokenUse(TypedDict):
    """How much of the vocabulary is used."""

    total: int
    kinds: list[TokenKind]
    never_used: list[str]
    rarest: list[RareToken]


class InstrumentUse(TypedDict):
    """Notes of an instrument class, and songs that it plays in."""

    name: str
    notes: int
    songs: int


class GridError(TypedDict):
    """How far the files' onsets lie from the nearest step of one grid.

    `exact` onsets lie on a step; `errors` counts onsets by whole milliseconds, the last bin open.
    """

    steps_per_beat: int
    onsets: int
    exact: int
    errors: list[int]
    mean_ms: float | None


class DrumDecision(TypedDict):
    """Notes and songs for which one kind of evidence decided whether a drum kit plays."""

    decision: str
    notes: int
    songs: int


class NoteCountsReport(TypedDict):
    """Note by note counts over all kept songs, duplicates included.

    `pitches` are notes by family and pitch, `velocities` notes by bin (programs, drums),
    `durations` notes by steps, `sounding` steps by how many notes sound.
    """

    songs: int
    notes: int
    tokens: TokenUse
    instruments: list[InstrumentUse]
    pitches: dict[str, list[int]]
    velocities: dict[str, list[int]]
    durations: list[int]
    sounding: list[int]
    grids: list[GridError]
    drum_decisions: list[DrumDecision]


class ChangedSetting(TypedDict):
    """A setting that is not at its default; both values as text."""

    name: str
    value: str
    default: str


class FolderUse(TypedDict):
    """What became of the files of one folder of the source; `folder` is None for the last row.

    That row adds up the `folders` that have no row of their own. `lost` are the most frequent
    reasons, `split_songs` the representative songs in each split, and `onset_error_ms` their
    median.
    """

    folder: str | None
    folders: int
    files: int
    kept: int
    lost: list[Reason]
    onset_error_ms: float | None
    split_songs: dict[str, int]


class CommonTempo(TypedDict):
    """The most frequent tempo in whole beats per minute; None without songs."""

    bpm: int | None
    songs: int


class Finding(TypedDict):
    """Something to look at; `anchor` is the section of report.html that shows it.

    The whole part of `weight` is how serious it is (`compute.findings`), the rest the share of
    the files or songs concerned.
    """

    code: str
    weight: float
    title: str
    advice: str
    anchor: str


class Roll(TypedDict):
    """How some music begins; `notes` are (start, duration, pitch, instrument class), in steps."""

    path: str
    steps_per_beat: int
    notes: list[list[int]]


class SongRoll(Roll):
    """The beginning of a song."""

    song: int


class RejectedRoll(Roll):
    """The beginning of a file that a rule rejected; `file` is its row in the ledger."""

    file: int
    rule: str
    value: float | None
    threshold: float | None


class Report(TypedDict):
    """All of report.json; `meters` and `keys` are songs by name, the most frequent first."""

    report_version: int
    settings: list[ChangedSetting]
    findings: list[Finding]
    vocabulary: VocabularySize
    funnel: list[Stage]
    reasons: list[ReasonWithExamples]
    totals: dict[str, Total]
    distributions: dict[str, Distribution]
    folders: list[FolderUse]
    meters: dict[str, int]
    split_meters: dict[str, dict[str, int]]
    tempo: CommonTempo
    keys: dict[str, int]
    pitch: dict[str, list[int]]
    programs: Programs
    losses: dict[str, Loss]
    controls: dict[str, Control]
    silence: Silence
    unaligned_songs: int
    what_if: list[WhatIf]
    reading: Reading
    duplicates: Duplicates
    blocks: list[BlockUse]
    note_counts: NoteCountsReport
    rolls: list[SongRoll]
    rejected_rolls: list[RejectedRoll]


def leaks(duplicates: Duplicates) -> int:
    """Clusters and files that lie in more than one split; anything but 0 is an error."""
    return duplicates["clusters_in_two_splits"] + duplicates["files_in_two_splits"]
