"""Compose a song: each section once, then their arrangement.

A chorus returns note for note after a minute or more, so a model with a longer memory can gain
from it. Only the parts that play, their velocities and, in some songs, the key of the last chorus
change.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.demo import backing, drums, melody
from pipeline.demo.harmony import Harmony, harmonize, key_name
from pipeline.demo.plan import DERIVED, Plan, bars_of, plan_song
from pipeline.demo.randomness import random_generator
from pipeline.demo.rhythm import SIMPLE_BEAT, Meter, Note, swing
from pipeline.demo.score import Control, Part, Piece

ENTRANCES = {
    "intro": {"chords", "arpeggio", "pad"},
    "verse": {"melody", "bass", "drums", "chords"},
    "chorus": {"melody", "bass", "drums", "chords", "pad", "arpeggio", "second", "double"},
    "bridge": {"melody", "bass", "drums", "pad", "arpeggio", "second"},
    "outro": {"melody", "bass", "drums", "chords", "pad", "arpeggio", "second", "double"},
}
"""The roles that play a section the first time; later all but the double do."""

MIN_ROLES = {"intro": 1, "verse": 3, "chorus": 3, "bridge": 3, "outro": 3}
"""A section never has fewer roles than this."""

DYNAMICS = {"intro": -10, "verse": -4, "chorus": 8, "bridge": 0, "outro": 2}
BALANCE = {
    "melody": 10, "bass": 4, "drums": 2, "chords": -8, "pad": -16, "arpeggio": -10, "second": -4,
    "double": -10,
}  # fmt: skip
"""Offsets to the velocities of each section and each part."""

CENTRES = {"melody": 72, "second": 62, "chords": 57, "pad": 61, "arpeggio": 66}
"""The centre of each part's pitches."""

PANS = {"melody": 64, "bass": 60, "drums": 64, "chords": 44, "pad": 80, "arpeggio": 96,
        "second": 30, "double": 74}  # fmt: skip

CLOSING_BPM = (0.88, 0.76)
"""Tempo factors of a ritardando: for the last bar of the outro and for the closing bar."""


def compose(seed: int, song: int) -> Piece:
    """Compose song number `song` of the corpus that `seed` names."""
    rng = random_generator(seed, song)
    plan = plan_song(rng)
    sections = {name: compose_section(plan, name, rng) for name in ("verse", "chorus", "bridge")}
    return arrange(plan, sections)


@dataclass(frozen=True)
class Section:
    """A composed section: notes by role, from pulse 0."""

    meter: Meter
    length: int
    """In pulses."""
    notes: dict[str, list[Note]]

    def last_bars(self, bars: int) -> "Section":
        """Its last `bars` bars."""
        length = bars * self.meter.bar
        begin = self.length - length
        return Section(
            self.meter,
            length,
            {
                role: [n._replace(start=n.start - begin) for n in notes if n.start >= begin]
                for role, notes in self.notes.items()
            },
        )


def compose_section(plan: Plan, name: str, rng: np.random.Generator) -> Section:
    """Compose the verse, the chorus or the bridge for every role of the plan."""
    meter = plan.bridge_meter if name == "bridge" else plan.meter
    bars = bars_of(name, plan.progressions, plan.bars)
    harmony = harmonize(plan.progressions[name], plan.mode, plan.tonic, meter, bars)
    centre = CENTRES["melody"] + (3 if name == "chorus" else 0)
    tune = melody.compose_melody(harmony, centre, plan.moods[name], rng)
    written = {
        "melody": tune,
        "double": [note._replace(pitch=note.pitch + 12) for note in tune],
        "second": _second(plan, harmony, tune),
        "bass": backing.bass_line(harmony, plan.styles["bass"]),
        "chords": backing.chords(harmony, plan.styles["chords"], CENTRES["chords"]),
        "pad": backing.pad(harmony, CENTRES["pad"]),
        "arpeggio": backing.arpeggio(
            harmony, plan.styles["arpeggio"], plan.arpeggio_step, CENTRES["arpeggio"]
        ),
        "drums": drums.drum_part(meter, plan.grooves[name], bars, rng),
    }
    return Section(meter, harmony.length, {role: written[role] for role in plan.roles})


def _second(plan: Plan, harmony: Harmony, tune: list[Note]) -> list[Note]:
    if plan.second_voice:
        return melody.second_voice(harmony, tune)
    return melody.guide_tones(harmony, CENTRES["second"])


def closing_bar(plan: Plan) -> Section:
    """One bar of the tonic in all parts."""
    harmony = harmonize(plan.mode.tonic, plan.mode, plan.tonic, plan.meter, 1)
    (_, length, chord), *_ = harmony.spans()
    keynote = CENTRES["melody"] - (CENTRES["melody"] - plan.tonic) % 12
    written = {
        "melody": [Note(0, length, keynote, 80)],
        "double": [Note(0, length, keynote + 12, 80)],
        "second": melody.second_voice(harmony, [Note(0, length, keynote, 80)]),
        "bass": [Note(0, length, backing.bass_root(chord), 80)],
        "drums": drums.last_stroke(length),
    }
    for role in ("chords", "pad", "arpeggio"):
        written[role] = backing.pad(harmony, CENTRES[role])
    return Section(plan.meter, length, {role: written[role] for role in plan.roles})


def arrange(plan: Plan, sections: dict[str, Section]) -> Piece:
    """Put the sections in the order of the form and add a closing bar."""
    piece = Piece(
        title=plan.title,
        folder=plan.genre.folder,
        key=key_name(plan.tonic, plan.mode),
        parts={role: Part(role, plan.programs.get(role), PANS[role]) for role in plan.roles},
    )
    last_chorus = len(plan.form) - 1 - plan.form[::-1].index("chorus")
    now = 0
    for number, name in enumerate(plan.form):
        section = _section_of(plan, sections, name)
        bpm = plan.bridge_bpm if name == "bridge" else plan.bpm
        key_change = plan.key_change if number >= last_chorus else 0
        roles = _playing(name, plan.form[:number].count(name), plan.roles)
        _add_section(piece, section, now, bpm, name, roles, key_change)
        now += section.length
    if plan.ritardando:
        piece.tempos.append((now - plan.meter.bar, round(plan.bpm * CLOSING_BPM[0])))
    bpm = round(plan.bpm * CLOSING_BPM[1]) if plan.ritardando else plan.bpm
    _add_section(piece, closing_bar(plan), now, bpm, "outro", plan.roles, plan.key_change)
    return _with_expression(plan, piece)


def _section_of(plan: Plan, sections: dict[str, Section], name: str) -> Section:
    if name in DERIVED:
        return sections[DERIVED[name]].last_bars(bars_of(name, plan.progressions, plan.bars))
    return sections[name]


def _playing(name: str, times_before: int, roles: tuple[str, ...]) -> tuple[str, ...]:
    """The roles that play a section; all of them where there would be too few."""
    wanted = ENTRANCES[name] if times_before == 0 else set(roles) - {"double"}
    chosen = tuple(role for role in roles if role in wanted)
    return chosen if len(chosen) >= MIN_ROLES[name] else roles


def _add_section(
    piece: Piece,
    section: Section,
    now: int,
    bpm: int,
    name: str,
    roles: tuple[str, ...],
    key_change: int,
) -> None:
    """Add a section to the piece at pulse `now`."""
    if not piece.meters or piece.meters[-1][1] != section.meter:
        piece.meters.append((now, section.meter))
    if not piece.tempos or piece.tempos[-1][1] != bpm:
        piece.tempos.append((now, bpm))
    for role in roles:
        rise = 0 if role == "drums" else key_change
        louder = DYNAMICS[name] + BALANCE[role]
        piece.parts[role].notes.extend(
            Note(now + start, length, pitch + rise, velocity + louder)
            for start, length, pitch, velocity in section.notes[role]
        )


def _with_expression(plan: Plan, piece: Piece) -> Piece:
    """Add swing, pitch bends and vibrato."""
    simple = all(beat == SIMPLE_BEAT for _, meter in piece.meters for beat in meter.beats)
    if plan.genre.swing and simple:
        for part in piece.parts.values():
            part.notes[:] = swing(part.notes)
    if plan.expressive:
        lead = piece.parts["melody"]
        for note in lead.notes:
            if note.length >= 2 * SIMPLE_BEAT:
                lead.controls.extend(_scoop(note) + _vibrato(note))
    return piece


def _scoop(note: Note) -> list[Control]:
    """Bend up into the note from a semitone below: -4096 to 0 in a sixth of a beat."""
    return [Control(note.start + pulse, "pitchwheel", 1024 * (pulse - 4)) for pulse in range(5)]


def _vibrato(note: Note) -> list[Control]:
    """Turn the modulation wheel up for the second half of the note."""
    middle, end = note.start + note.length // 2, note.start + note.length
    return [Control(middle, "modulation", 64), Control(end, "modulation", 0)]
