"""MIDI files written byte by byte from readable events, whole or as broken as a test wants.

midi(track(tempo(500_000), on(60), after(480, off(60))), division=480)
"""


def number(value: int) -> bytes:
    """A variable-length number."""
    digits = [value & 127]
    while value := value >> 7:
        digits.append(128 | value & 127)
    return bytes(reversed(digits))


def after(ticks: int, event: bytes) -> bytes:
    """The event with another delta time than the 0 it is made with."""
    assert event[0] == 0
    return number(ticks) + event[1:]


def on(pitch: int, velocity: int = 64, channel: int = 0) -> bytes:
    """A note-on, at once."""
    return bytes([0, 0x90 | channel, pitch, velocity])


def off(pitch: int, channel: int = 0) -> bytes:
    """A note-off, at once."""
    return bytes([0, 0x80 | channel, pitch, 64])


def note(pitch: int, ticks: int = 480, velocity: int = 64, channel: int = 0) -> bytes:
    """A note-on, and a note-off `ticks` later."""
    return on(pitch, velocity, channel) + after(ticks, off(pitch, channel))


def program(number_: int, channel: int = 0) -> bytes:
    """A program change."""
    return bytes([0, 0xC0 | channel, number_])


def control(kind: int, value: int, channel: int = 0) -> bytes:
    """A controller."""
    return bytes([0, 0xB0 | channel, kind, value])


def bend(value: int, channel: int = 0) -> bytes:
    """A pitch bend, -8192 .. 8191."""
    return bytes([0, 0xE0 | channel, value + 8192 & 127, value + 8192 >> 7])


def meta(kind: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """A meta event, with its own length or another."""
    return bytes([0, 0xFF, kind]) + number(len(payload) if length is None else length) + payload


def tempo(microseconds: int) -> bytes:
    """A tempo."""
    return meta(0x51, microseconds.to_bytes(3))


def meter(numerator: int, power: int) -> bytes:
    """A time signature; `power` 2 is a quarter note."""
    return meta(0x58, bytes([numerator, power, 24, 8]))


def key(sharps: int, mode: int = 0) -> bytes:
    """A key signature."""
    return meta(0x59, bytes([sharps & 255, mode]))


def name(text: str, encoding: str = "latin1") -> bytes:
    """A track name."""
    return meta(0x03, text.encode(encoding))


def port(number_: int) -> bytes:
    """What port the track's events go to."""
    return meta(0x21, bytes([number_]))


def sysex(payload: str, length: int | None = None) -> bytes:
    """A SysEx, written in hexadecimal without F0, with its own length or another."""
    data = bytes.fromhex(payload)
    return b"\0\xf0" + number(len(data) if length is None else length) + data


END = meta(0x2F)


def chunk(kind: bytes, payload: bytes, length: int | None = None) -> bytes:
    """A chunk, with its own length or another."""
    return kind + (len(payload) if length is None else length).to_bytes(4) + payload


def track(*events: bytes, end: bytes = END, length: int | None = None) -> bytes:
    """A track chunk."""
    return chunk(b"MTrk", b"".join(events) + end, length)


def header(format: int = 1, tracks: int = 1, division: int = 480) -> bytes:
    """A header chunk."""
    return chunk(b"MThd", b"".join(value.to_bytes(2) for value in (format, tracks, division)))


def midi(*tracks: bytes, format: int = 1, division: int = 480) -> bytes:
    """A whole file."""
    return header(format, len(tracks), division) + b"".join(tracks)
