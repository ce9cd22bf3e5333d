"""Compose a song: the choices before its first note, each section once, then their arrangement.

A chorus returns note for note after a minute or more, so a model with a longer memory can gain
from it. Only the parts that play, their velocities and, in some songs, the key of the last chorus
change.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.demo import backing, melody
from pipeline.demo.genres import ARPEGGIOS, BASS, CHORDS, GENRES, GROOVES, Genre
from pipeline.demo.harmony import MODES, Mode, harmonize, key_name
from pipeline.demo.randomness import choose, happens, random_generator
from pipeline.demo.rhythm import METERS, PULSES_PER_QUARTER, SIMPLE_BEAT, Meter, Note, swing
from pipeline.demo.score import BEND, CONTROL, MODULATION, Control, Part, Piece

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
"""Sections that repeat the end of another one, of DERIVED_BARS."""
DERIVED_BARS = 4
KEY_CHANGES = (0, 0, 0, 1, 2, 2)
"""Semitones by which the last chorus may be transposed up."""
OTHER_METER = {"4/4": "3/4", "3/4": "4/4", "6/8": "3/4", "12/8": "6/8"}
"""The meter of the bridge in songs that change theirs."""
CLOSING_BPM = (0.88, 0.76)
"""Tempo factors of a ritardando: for the last bar of the outro and for the closing bar."""

ENTRANCES = {
    "intro": "chords arpeggio pad",
    "verse": "melody bass drums chords",
    "chorus": "melody bass drums chords pad arpeggio second double",
    "bridge": "melody bass drums pad arpeggio second",
    "outro": "melody bass drums chords pad arpeggio second double",
}
"""The roles that play a section the first time; later all but the double do."""
DYNAMICS = {"intro": -10, "verse": -4, "chorus": 8, "bridge": 0, "outro": 2}
BALANCE = {
    "melody": 10, "bass": 4, "drums": 2, "chords": -8, "pad": -16, "arpeggio": -10, "second": -4,
    "double": -10,
}  # fmt: skip
"""Offsets to the velocities of each section and each part."""
CENTRES = {"melody": 72, "second": 62, "chords": 57, "pad": 61, "arpeggio": 66}
"""The centre of each part's pitches."""

ADJECTIVES = (
    "Silver Quiet Northern Broken Golden Distant Little Velvet Early Paper Winter Second Salt Blue "
    "Hollow Burning Slow Wandering"
)
NOUNS = (
    "River Lantern Station Garden Letter Harbour Mirror Orchard Summer Staircase Horizon Window "
    "Tide Carousel Avenue Meadow Signal Bridge"
)


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
    progressions: dict[str, str]
    """Of verse, chorus and bridge."""
    form: list[str]
    bars: int
    """Bars of a section, before rounding up to whole progressions."""
    programs: dict[str, int | None]
    """Of each role that plays."""


def plan_song(rng: np.random.Generator) -> Plan:
    """Draw genre, key, meter, tempo, form and instruments of a song."""
    genre = choose(rng, GENRES)
    mode, meter = MODES[_draw(rng, genre.modes)], _draw(rng, genre.meters)
    bpm = int(rng.integers(genre.tempos[0], genre.tempos[1] + 1))
    progressions = {name: choose(rng, options) for name, options in mode.progressions.items()}
    fitting = []
    for form in map(str.split, FORMS):
        for bars in SECTION_BARS:
            total = sum(_bars_of(name, progressions, bars) for name in form)
            seconds = total * METERS[meter].bar * 60 / (PULSES_PER_QUARTER * bpm)
            if MIN_SECONDS <= seconds <= MAX_SECONDS:
                fitting.append((form, bars))
    form, bars = choose(rng, fitting)
    roles = [*genre.programs]
    # The larger of two draws: few trios, mostly large ensembles.
    roles = roles[: rng.integers(3, len(roles) + 1, size=2).max()]
    return Plan(
        title=f"{_draw(rng, ADJECTIVES)} {_draw(rng, NOUNS)}",
        genre=genre,
        mode=mode,
        tonic=int(rng.integers(12)),
        meter=METERS[meter],
        bridge_meter=METERS[OTHER_METER.get(meter, meter) if happens(rng, 8) else meter],
        bpm=bpm,
        progressions=progressions,
        form=form,
        bars=bars,
        programs={role: choose(rng, genre.programs[role] or [None]) for role in roles},
    )


def _draw(rng: np.random.Generator, names: str) -> str:
    return choose(rng, names.split())


def _bars_of(name: str, progressions: dict[str, str], bars: int) -> int:
    """Bars of one section: whole progressions, or the end of its source for an intro or outro."""
    unit = len(progressions[DERIVED.get(name, name)].split())
    whole = -(-bars // unit) * unit
    return min(whole // 2, DERIVED_BARS) if name in DERIVED else whole


@dataclass(frozen=True)
class Section:
    """A composed section: notes by role, from pulse 0."""

    meter: Meter
    length: int
    notes: dict[str, list[Note]]

    def last_bars(self, bars: int) -> "Section":
        """Its last `bars` bars."""
        length = bars * self.meter.bar
        begin = self.length - length
        kept = {
            role: [n._replace(start=n.start - begin) for n in notes if n.start >= begin]
            for role, notes in self.notes.items()
        }
        return Section(self.meter, length, kept)


def compose(seed: int, song: int) -> Piece:
    """Compose song number `song` of the corpus that `seed` names."""
    rng = random_generator(seed, song)
    plan = plan_song(rng)
    return _arrange(plan, _compose_sections(plan, rng), rng)


def _compose_sections(plan: Plan, rng: np.random.Generator) -> dict[str, Section]:
    """Verse, chorus, bridge, and what is derived from them, for every role of the plan."""
    genre, calm = plan.genre, "calm" if plan.bpm > 140 else "lively"
    moods = choose(rng, (("calm", calm), ("lively", "calm"), (calm, calm)))
    bass, chord = BASS[_draw(rng, genre.bass)], CHORDS[_draw(rng, genre.chords)]
    order, step = choose(rng, ARPEGGIOS), choose(rng, (6, 12)) if plan.bpm < 110 else 12
    has_second_voice, sections = happens(rng, 50), {}
    for name, mood in zip(("verse", "chorus", "bridge"), (*moods, "calm"), strict=True):
        meter = plan.bridge_meter if name == "bridge" else plan.meter
        bars = _bars_of(name, plan.progressions, plan.bars)
        harmony = harmonize(plan.progressions[name], plan.mode, plan.tonic, meter, bars)
        centre = CENTRES["melody"] + (3 if name == "chorus" else 0)
        tune = melody.compose_melody(harmony, centre, mood, rng)
        slow = melody.guide_tones(harmony, CENTRES["second"])
        written = {
            "melody": tune,
            "double": [note._replace(pitch=note.pitch + 12) for note in tune],
            "second": melody.second_voice(harmony, tune) if has_second_voice else slow,
            "bass": backing.bass_line(harmony, bass),
            "chords": backing.chords(harmony, chord, CENTRES["chords"]),
            "pad": backing.pad(harmony, CENTRES["pad"]),
            "arpeggio": backing.arpeggio(harmony, order, step, CENTRES["arpeggio"]),
            "drums": backing.drum_part(meter, GROOVES[_draw(rng, genre.grooves)], bars, rng),
        }
        kept = {role: written[role] for role in plan.programs}
        sections[name] = Section(meter, harmony.length, kept)
    for name, source in DERIVED.items():
        bars = _bars_of(name, plan.progressions, plan.bars)
        sections[name] = sections[source].last_bars(bars)
    return sections


def _closing_bar(plan: Plan) -> Section:
    """One bar of the tonic in all parts."""
    harmony = harmonize(plan.mode.tonic, plan.mode, plan.tonic, plan.meter, 1)
    length = harmony.length
    keynote = CENTRES["melody"] - (CENTRES["melody"] - plan.tonic) % 12
    written = {role: backing.pad(harmony, CENTRES[role]) for role in ("chords", "pad", "arpeggio")}
    written |= {
        "melody": [Note(0, length, keynote, 80)],
        "double": [Note(0, length, keynote + 12, 80)],
        "second": melody.second_voice(harmony, [Note(0, length, keynote, 80)]),
        "bass": backing.bass_line(harmony, BASS["roots"]),
        "drums": backing.last_stroke(length),
    }
    return Section(plan.meter, length, {role: written[role] for role in plan.programs})


def _arrange(plan: Plan, sections: dict[str, Section], rng: np.random.Generator) -> Piece:
    """Put the sections in the order of the form and add a closing bar."""
    parts = {role: Part(program) for role, program in plan.programs.items()}
    piece = Piece(plan.title, plan.genre.folder, key_name(plan.tonic, plan.mode), parts)
    last_chorus = len(plan.form) - 1 - plan.form[::-1].index("chorus")
    key_change, slows_down, is_expressive = (
        choose(rng, KEY_CHANGES),
        happens(rng, 15),
        happens(rng, 20),
    )
    piece.tempos.append((0, plan.bpm))
    now = 0
    for number, name in enumerate(plan.form):
        roles = _playing(name, plan.form[:number].count(name), plan)
        _add_section(piece, sections[name], now, name, roles, key_change * (number >= last_chorus))
        now += sections[name].length
    if slows_down:
        piece.tempos += [
            (pulse, round(plan.bpm * factor))
            for pulse, factor in zip((now - plan.meter.bar, now), CLOSING_BPM, strict=True)
        ]
    _add_section(piece, _closing_bar(plan), now, "outro", [*plan.programs], key_change)
    if plan.genre.swing and all({*meter.beats} == {SIMPLE_BEAT} for _, meter in piece.meters):
        for part in parts.values():
            part.notes[:] = swing(part.notes)
    if is_expressive:
        parts["melody"].controls += [
            control
            for note in parts["melody"].notes
            if note.length >= 2 * SIMPLE_BEAT
            for control in _scoop_and_vibrato(note)
        ]
    return piece


def _playing(name: str, times_before: int, plan: Plan) -> list[str]:
    """The roles that play a section; all of them where there would be too few."""
    roles = [*plan.programs]
    wanted = {*roles} - {"double"} if times_before else {*ENTRANCES[name].split()}
    chosen = [role for role in roles if role in wanted]
    return chosen if len(chosen) >= (1 if name == "intro" else 3) else roles


def _add_section(
    piece: Piece, section: Section, now: int, name: str, roles: list[str], rise: int
) -> None:
    """Add a section to the piece at pulse `now`."""
    if not piece.meters or piece.meters[-1][1] != section.meter:
        piece.meters.append((now, section.meter))
    for role in roles:
        louder, higher = DYNAMICS[name] + BALANCE[role], 0 if role == "drums" else rise
        piece.parts[role].notes.extend(
            Note(now + start, length, pitch + higher, velocity + louder)
            for start, length, pitch, velocity in section.notes[role]
        )


def _scoop_and_vibrato(note: Note) -> list[Control]:
    """Bend up from a semitone below within a sixth of a beat; modulation in the second half."""
    bends = [(note.start + pulse, 8192 + 1024 * (pulse - 4)) for pulse in range(5)]
    wheel = [(note.start + note.length // 2, 64), (note.start + note.length, 0)]
    return [
        *(Control(pulse, BEND, bend & 0x7F, bend >> 7) for pulse, bend in bends),
        *(Control(pulse, CONTROL, MODULATION, value) for pulse, value in wheel),
    ]
