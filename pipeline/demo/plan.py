"""The choices of one song before its first note: key, meter, tempo, form and instruments."""

from dataclasses import dataclass

import numpy as np

from pipeline.demo.backing import ARPEGGIOS
from pipeline.demo.drums import GROOVES
from pipeline.demo.genres import GENRES, Genre
from pipeline.demo.harmony import MODES, Mode
from pipeline.demo.randomness import choose, happens
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
MIN_SECONDS, MAX_SECONDS = 62, 225
"""Bounds of a plan's length; with closing bar and slow passages, a song has 1 to 4 minutes."""

DERIVED = {"intro": "verse", "outro": "chorus"}
"""Sections that repeat the end of another one."""

DERIVED_BARS = 4

KEY_CHANGES = (0, 0, 0, 1, 2, 2)
"""Semitones by which the last chorus may be transposed up."""

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
    """The choices of one song; the rest is drawn while composing."""

    title: str
    genre: Genre
    mode: Mode
    tonic: int
    meter: Meter
    bridge_meter: Meter
    bpm: int
    """Quarter notes per minute."""
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
    """The second part follows the melody; otherwise it is a slow line."""
    key_change: int
    """Semitones by which the last chorus is transposed up."""
    ritardando: bool
    expressive: bool
    """The melody has pitch bend and modulation."""


def plan_song(rng: np.random.Generator) -> Plan:
    """Draw every choice of a song."""
    title = f"{choose(rng, ADJECTIVES)} {choose(rng, NOUNS)}"
    genre = choose(rng, GENRES)
    meter_name = choose(rng, genre.meters)
    bridge_name = OTHER_METER.get(meter_name, meter_name) if happens(rng, 8) else meter_name
    mode = MODES[choose(rng, genre.modes)]
    bpm = int(rng.integers(genre.tempos[0], genre.tempos[1] + 1))
    progressions = {
        "verse": choose(rng, mode.verse),
        "chorus": choose(rng, mode.chorus),
        "bridge": choose(rng, mode.bridge),
    }
    form, bars = _choose_form(progressions, METERS[meter_name], bpm, rng)
    # The larger of two draws: few trios, mostly large ensembles.
    parts = rng.integers(3, len(genre.roles) + 1, size=2).max()
    roles = genre.roles[: int(parts)]
    calm = "calm" if bpm > 140 else "lively"
    moods = choose(rng, (("calm", calm), ("lively", "calm"), (calm, calm)))
    return Plan(
        title=title,
        genre=genre,
        mode=mode,
        tonic=int(rng.integers(12)),
        meter=METERS[meter_name],
        bridge_meter=METERS[bridge_name],
        bpm=bpm,
        bridge_bpm=choose(rng, (bpm * 5 // 6, bpm * 8 // 7)) if happens(rng, 8) else bpm,
        progressions=progressions,
        form=form,
        bars=bars,
        roles=roles,
        programs=_choose_programs(genre, roles, rng),
        grooves={
            "verse": _choose_groove(genre, meter_name, rng),
            "chorus": _choose_groove(genre, meter_name, rng),
            "bridge": _choose_groove(genre, bridge_name, rng),
        },
        styles={
            "bass": choose(rng, genre.bass),
            "chords": choose(rng, genre.chords),
            "arpeggio": choose(rng, tuple(ARPEGGIOS)),
        },
        arpeggio_step=choose(rng, (6, 12)) if bpm < 110 else 12,
        moods={"verse": moods[0], "chorus": moods[1], "bridge": "calm"},
        second_voice=happens(rng, 50),
        key_change=choose(rng, KEY_CHANGES),
        ritardando=happens(rng, 12),
        expressive=happens(rng, 20),
    )


def _choose_form(
    progressions: dict[str, str], meter: Meter, bpm: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], int]:
    """Draw a form and a number of bars within MIN_SECONDS and MAX_SECONDS."""
    fitting = []
    for form in (tuple(form.split()) for form in FORMS):
        for bars in SECTION_BARS:
            total = sum(bars_of(name, progressions, bars) for name in form)
            seconds = total * meter.bar * 60 / (PULSES_PER_QUARTER * bpm)
            if MIN_SECONDS <= seconds <= MAX_SECONDS:
                fitting.append((form, bars))
    return choose(rng, fitting)


def bars_of(name: str, progressions: dict[str, str], bars: int) -> int:
    """Bars of one section: whole progressions, or the end of its source for an intro or outro."""
    source = DERIVED.get(name, name)
    unit = len(progressions[source].split())
    whole = -(-bars // unit) * unit
    return min(whole // 2, DERIVED_BARS) if name in DERIVED else whole


def _choose_programs(
    genre: Genre, roles: tuple[str, ...], rng: np.random.Generator
) -> dict[str, int]:
    programs = {}
    for role in roles:
        if role != "drums":
            programs[role] = choose(rng, genre.programs["second" if role == "double" else role])
    return programs


def _choose_groove(genre: Genre, meter_name: str, rng: np.random.Generator) -> str:
    known = GROOVES[meter_name]
    return known[choose(rng, [name for name in genre.grooves if name in known] or list(known))]
