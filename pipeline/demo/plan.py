"""What is settled about a song before its first note: key, meter, tempo, form and band."""

from dataclasses import dataclass

import numpy as np

from pipeline.demo.backing import ARPEGGIOS
from pipeline.demo.chance import happens, pick
from pipeline.demo.drums import GROOVES
from pipeline.demo.genres import GENRES, Genre
from pipeline.demo.harmony import MODES, Mode
from pipeline.demo.rhythm import METERS, PULSES_PER_QUARTER, Meter

FORMS = (
    "intro verse chorus verse chorus bridge chorus outro",
    "intro verse verse chorus verse bridge chorus outro",
    "intro chorus verse chorus verse bridge chorus chorus outro",
    "intro verse chorus verse chorus outro",
    "verse verse chorus bridge verse chorus outro",
    "intro verse chorus bridge verse chorus bridge chorus chorus outro",
)

SECTION_BARS = (4, 8, 16)
SHORTEST, LONGEST = 62, 225
"""Seconds a plan may last; closing bar and slow passages included, a song has 1 to 4 minutes."""

DERIVED = {"intro": "verse", "outro": "chorus"}
"""Sections that are the end of another: an intro is the turnaround of the verse."""

DERIVED_BARS = 4

LIFTS = (0, 0, 0, 1, 2, 2)
"""Semitones by which the last chorus rises."""

OTHER_METER = {"4/4": "3/4", "3/4": "4/4", "6/8": "3/4", "12/8": "6/8"}
"""The meter of the bridge in songs that change theirs."""

ADJECTIVES = (
    "Silver", "Quiet", "Northern", "Broken", "Golden", "Distant", "Little", "Velvet", "Early",
    "Paper", "Winter", "Second", "Salt", "Blue", "Hollow", "Burning", "Slow", "Wandering",
)  # fmt: skip
NOUNS = (
    "River", "Lantern", "Station", "Garden", "Letter", "Harbour", "Mirror", "Orchard", "Summer",
    "Staircase", "Horizon", "Window", "Tide", "Carousel", "Avenue", "Meadow", "Signal", "Bridge",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One song's choices; notes follow from it and a few more throws."""

    title: str
    genre: Genre
    mode: Mode
    tonic: int
    meter: Meter
    bridge_meter: Meter
    bpm: int
    """Quarter notes a minute."""
    bridge_bpm: int
    progressions: dict[str, str]
    form: tuple[str, ...]
    bars: int
    """Bars of a section, before rounding up to whole progressions."""
    roles: tuple[str, ...]
    programs: dict[str, int]
    grooves: dict[str, str]
    """Drum tabs of verse, chorus and bridge."""
    styles: dict[str, str]
    arpeggio_step: int
    moods: dict[str, str]
    second_voice: bool
    """The second part follows the melody; otherwise it is a slow line of its own."""
    lift: int
    """Semitones by which the last chorus rises."""
    ritardando: bool
    gestures: bool
    """The melody is played with pitch bend and modulation wheel."""


def plan_song(dice: np.random.Generator) -> Plan:
    """Throw for every choice of a song."""
    title = f"{pick(dice, ADJECTIVES)} {pick(dice, NOUNS)}"
    genre = pick(dice, GENRES)
    meter_name = pick(dice, genre.meters)
    bridge_name = OTHER_METER.get(meter_name, meter_name) if happens(dice, 8) else meter_name
    mode = MODES[pick(dice, genre.modes)]
    bpm = int(dice.integers(genre.tempos[0], genre.tempos[1] + 1))
    progressions = {
        "verse": pick(dice, mode.verse),
        "chorus": pick(dice, mode.chorus),
        "bridge": pick(dice, mode.bridge),
    }
    form, bars = _choose_form(progressions, METERS[meter_name], bpm, dice)
    # The larger of two throws: a trio now and then, mostly a full band.
    players = dice.integers(3, len(genre.roles) + 1, size=2).max()
    roles = genre.roles[: int(players)]
    calm = "calm" if bpm > 140 else "lively"
    moods = pick(dice, (("calm", calm), ("lively", "calm"), (calm, calm)))
    return Plan(
        title=title,
        genre=genre,
        mode=mode,
        tonic=int(dice.integers(12)),
        meter=METERS[meter_name],
        bridge_meter=METERS[bridge_name],
        bpm=bpm,
        bridge_bpm=pick(dice, (bpm * 5 // 6, bpm * 8 // 7)) if happens(dice, 8) else bpm,
        progressions=progressions,
        form=form,
        bars=bars,
        roles=roles,
        programs=_choose_programs(genre, roles, dice),
        grooves={
            "verse": _choose_groove(genre, meter_name, dice),
            "chorus": _choose_groove(genre, meter_name, dice),
            "bridge": _choose_groove(genre, bridge_name, dice),
        },
        styles={
            "bass": pick(dice, genre.bass),
            "chords": pick(dice, genre.chords),
            "arpeggio": pick(dice, tuple(ARPEGGIOS)),
        },
        arpeggio_step=pick(dice, (6, 12)) if bpm < 110 else 12,
        moods={"verse": moods[0], "chorus": moods[1], "bridge": "calm"},
        second_voice=happens(dice, 50),
        lift=pick(dice, LIFTS),
        ritardando=happens(dice, 12),
        gestures=happens(dice, 20),
    )


def _choose_form(
    progressions: dict[str, str], meter: Meter, bpm: int, dice: np.random.Generator
) -> tuple[tuple[str, ...], int]:
    """A form and a section length that together last between SHORTEST and LONGEST."""
    fitting = []
    for form in (tuple(form.split()) for form in FORMS):
        for bars in SECTION_BARS:
            total = sum(bars_of(name, progressions, bars) for name in form)
            seconds = total * meter.bar * 60 / (PULSES_PER_QUARTER * bpm)
            if SHORTEST <= seconds <= LONGEST:
                fitting.append((form, bars))
    return pick(dice, fitting)


def bars_of(name: str, progressions: dict[str, str], bars: int) -> int:
    """Bars of one section: whole progressions, or the end of its source for an intro or outro."""
    source = DERIVED.get(name, name)
    unit = len(progressions[source].split())
    whole = -(-bars // unit) * unit
    return min(whole // 2, DERIVED_BARS) if name in DERIVED else whole


def _choose_programs(
    genre: Genre, roles: tuple[str, ...], dice: np.random.Generator
) -> dict[str, int]:
    programs = {}
    for role in roles:
        if role != "drums":
            programs[role] = pick(dice, genre.programs["second" if role == "double" else role])
    return programs


def _choose_groove(genre: Genre, meter_name: str, dice: np.random.Generator) -> str:
    known = GROOVES[meter_name]
    return known[pick(dice, [name for name in genre.grooves if name in known] or list(known))]
