"""Which notes are a drum kit's: one small file for each way of saying so, and of not saying so."""

import pytest

from pipeline.midi import read_midi
from tests.pipeline.midi.midi_bytes import (
    control,
    meta,
    midi,
    name,
    note,
    port,
    program,
    sysex,
    track,
)

GM_ON, GM2_ON = sysex("7e7f0901f7"), sysex("7e7f0903f7")
GS_RESET, XG_ON = sysex("411042124000 7f0041f7"), sysex("43104c00007e00f7")
TONE = note(60)
ROCK = (36, 42, 38, 42, 36, 42, 38, 46)
BEAT = [note(key, 120, channel=2) for key in ROCK]
TUNE = [note(key, 120, channel=2) for key in (60, 62, 64, 65, 67, 69, 71, 72)]


def gs_part(block: int, rhythm: int, address: int = 0x40) -> bytes:
    """GS "use for rhythm part": 0 off, 1 and 2 its two maps."""
    checksum = -(address + (0x10 | block) + 0x15 + rhythm) & 127
    return sysex(f"41104212{address:02x}1{block:x}15{rhythm:02x}{checksum:02x}f7")


def xg_part(part: int, mode: int) -> bytes:
    """XG part mode: 0 normal, 1 drums, 2 and more its drum setups."""
    return sysex(f"43104c08{part:02x}07{mode:02x}f7")


def bank(number: int, channel: int = 0) -> bytes:
    """A bank, and the program change that takes it up."""
    return control(0, number, channel) + control(32, 0, channel) + program(0, channel)


KITS = {
    # what the file says: (its tracks, whether each note is a kit's, the decisions)
    "channel 10": ([track(note(36, channel=9))], [True], {"channel_10": 1}),
    "channel 1": ([track(TONE)], [False], {}),
    "channel 10 on the second port": (
        [track(port(1), note(36, channel=9))],
        [True],
        {"channel_10": 1},
    ),
    "channel 10 named Piano": (
        [track(name("Piano"), note(60, channel=9))],
        [True],
        {"channel_10": 1},
    ),
    "GS part 1 is a kit": (
        [track(GS_RESET, gs_part(1, 1), TONE)],
        [True],
        {"gs_part_mode": 1},
    ),
    "GS part 11 is a kit of map 2": (
        [track(gs_part(10, 2), note(36, channel=10))],
        [True],
        {"gs_part_mode": 1},
    ),
    "GS part 10 is none": (
        [track(gs_part(0, 0), note(36, channel=9))],
        [False],
        {"gs_part_mode_off": 1},
    ),
    "GS part 16 is a kit, said in another track": (
        [track(gs_part(15, 1)), track(note(36, channel=15), TONE)],
        [True, False],
        {"gs_part_mode": 1},
    ),
    "a GS reset takes the kit away": (
        [track(gs_part(1, 1), TONE, GS_RESET, TONE)],
        [True, False],
        {"gs_part_mode": 1},
    ),
    "GS on the second port only": (
        [track(port(1), gs_part(1, 1), note(36)), track(port(0), note(40))],
        [True, False],
        {"gs_part_mode": 1},
    ),
    "XG part 3 is a kit": (
        [track(XG_ON, xg_part(2, 2), note(36, channel=2))],
        [True],
        {"xg_part_mode": 1},
    ),
    "XG part 10 is normal": (
        [track(XG_ON, xg_part(9, 0), note(60, channel=9))],
        [False],
        {"xg_part_mode_off": 1},
    ),
    "XG bank 127": ([track(XG_ON, bank(127), TONE)], [True], {"xg_bank": 1}),
    "XG bank 126, effects": ([track(XG_ON, bank(126), TONE)], [True], {"xg_bank": 1}),
    "XG bank 127 and back to 0": (
        [track(XG_ON, bank(127), TONE, bank(0), TONE)],
        [True, False],
        {"xg_bank": 1},
    ),
    "XG bank 127 without a program change": (
        [track(XG_ON, control(0, 127), TONE)],
        [False],
        {},
    ),
    "XG bank 64, effects that are played": ([track(XG_ON, bank(64), TONE)], [False], {}),
    "XG bank 0 on channel 10": (
        [track(XG_ON, bank(0, 9), note(36, channel=9))],
        [True],
        {"channel_10": 1},
    ),
    "GS bank 127, sounds of the MT-32": ([track(GS_RESET, bank(127), TONE)], [False], {}),
    "bank 127 of nobody, played like drums": (
        [track(bank(127, 2), *BEAT)],
        [True] * 8,
        {"xg_bank": 8},
    ),
    "bank 127 of nobody, played like a tune": ([track(bank(127, 2), *TUNE)], [False] * 8, {}),
    "GM2 bank 120": ([track(GM2_ON, bank(120), TONE)], [True], {"gm2_bank": 1}),
    "GM2 bank 121 on channel 10": (
        [track(GM2_ON, bank(121, 9), note(60, channel=9))],
        [False],
        {"gm2_bank_off": 1},
    ),
    "bank 121 on channel 10 without GM2": (
        [track(GM_ON, bank(121, 9), note(36, channel=9))],
        [True],
        {"channel_10": 1},
    ),
    "a track named Drums that drums": (
        [track(name("Drums 2"), *BEAT)],
        [True] * 8,
        {"track_name": 8},
    ),
    "an instrument named Schlagzeug that drums": (
        [track(meta(4, b"SCHLAGZEUG"), *BEAT)],
        [True] * 8,
        {"track_name": 8},
    ),
    "a track named do-ra-mu in Shift JIS that drums": (
        [track(name("ドラム", "shift_jis"), *BEAT)],
        [True] * 8,
        {"track_name": 8},
    ),
    "a track named Steel Drums that plays a tune": (
        [track(name("Steel Drums"), *TUNE)],
        [False] * 8,
        {},
    ),
    "a track named Taiko Drum that seems to drum": (
        [track(name("Taiko Drum"), *BEAT)],
        [False] * 8,
        {},
    ),
    "a track named Drums that plays timpani, steel drums and a celesta": (
        [track(name("Drums"), *(program(n, 2) + b"".join(BEAT) for n in (47, 114, 8)))],
        [False] * 24,
        {},
    ),
    "timpani of the orchestra kit, and its other drums": (
        [track(program(48, 9), *(note(key, channel=9) for key in (40, 41, 53, 54)))],
        [True, False, False, True],
        {"channel_10": 2, "orchestra_kit": 2},
    ),
    "a rock beat under the orchestra kit's number": (
        [track(program(48, 9), *(note(key, 120, channel=9) for key in ROCK))],
        [True] * 8,
        {"channel_10": 8},
    ),
    "a beat of the orchestra kit in a file that speaks GS": (
        [track(GS_RESET, program(48, 9), *(note(key, 120, channel=9) for key in ROCK))],
        [True, False, True, False, True, False, True, False],
        {"channel_10": 4, "orchestra_kit": 4},
    ),
    "XG's classic kit, which has toms there": (
        [track(XG_ON, program(48, 9), note(41, channel=9))],
        [True],
        {"channel_10": 1},
    ),
    "a track named Guitar that seems to drum": ([track(name("Guitar"), *BEAT)], [False] * 8, {}),
    "a track named Kitty that seems to drum": ([track(name("Kitty"), *BEAT)], [False] * 8, {}),
    "three notes named Drums are too few to tell": (
        [track(name("Drums"), *BEAT[:3])],
        [False] * 3,
        {},
    ),
}


@pytest.mark.parametrize("kind", KITS)
def test_a_kit_is_told_by_what_the_file_says(kind):
    tracks, is_drum, decisions = KITS[kind]
    recording = read_midi(midi(*tracks))
    assert recording.notes["is_drum"].tolist() == is_drum
    assert recording.percussion == decisions


def test_the_fixtures_are_twenty_or_more():
    assert len(KITS) >= 20


def test_timpani_of_the_orchestra_kit_have_their_program_and_pitch():
    tuned = control(101, 0, 9) + control(100, 2, 9) + control(6, 76, 9)  # 12 semitones up
    played = track(tuned, program(48, 9), note(45, channel=9), program(0, 9), note(45, channel=9))
    notes = read_midi(midi(played)).notes
    assert notes[["program", "pitch", "is_drum"]].tolist() == [(47, 45, 0), (0, 45, 1)]


def test_a_kit_may_come_and_go_within_a_chord():
    chord = track(note(60, 0), gs_part(1, 1), note(61, 0), gs_part(1, 0), note(62, 0))
    assert read_midi(midi(chord)).notes["is_drum"].tolist() == [False, True, False]
