"""What the user asks of a song -> conditions of the model, and the tokens it opens with."""

import numpy as np

from shards.codec import EncodedSong
from shards.errors import SettingError
from shards.vocabulary import PROGRAMS, Vocabulary
from trainer.data.conditions import ConditionCodes, Conditions, encode_conditions, parse_key
from trainer.generation.instruments import choose_instruments
from trainer.generation.settings import SampleConfig


def asked_conditions(
    config: SampleConfig,
    vocabulary: Vocabulary,
    last_bar: int | None,
    song: EncodedSong | None = None,
) -> ConditionCodes:
    """The conditions of a song.

    Args:
        config: what is asked.
        vocabulary: of the model.
        last_bar: in which the song is to end; None: it goes on.
        song: what is there already: its instruments come before others of the same name.

    Raises:
        SettingError: the meter or the key is none.
    """
    band = None
    if config.instruments is not None:
        band = np.flatnonzero(choose_instruments(config.instruments, vocabulary, song)).tolist()
    conditions = Conditions(
        tempo=config.tempo,
        meter=config.meter,
        key=None if config.key is None else parse_key(config.key),
        bars=None if last_bar is None else last_bar + 1,
        notes_per_bar=config.notes_per_bar,
        programs=None if band is None else tuple(n for n in band if n < PROGRAMS),
        drums=band is not None and any(n >= PROGRAMS for n in band),
    )
    return encode_conditions(conditions, vocabulary)


def parse_meter(text: str, vocabulary: Vocabulary) -> int | None:
    """The token of a meter; None where the vocabulary has no meters, and it is 4/4.

    Raises:
        SettingError: the vocabulary has no such meter.
    """
    name = f"m{text.replace(' ', '')}"
    if name in vocabulary.ids and vocabulary.meters:
        return vocabulary.ids[name]
    if not vocabulary.meters and name == "m4/4":
        return None
    known = "4/4 alone: the dataset has no meters"
    if vocabulary.meters:
        known = "one such as 3/4, 6/8 or 7/8, of at most 16 quarter notes"
    raise SettingError(f"meter is {text!r}; expected {known}")


def nearest_tempo(bpm: float, vocabulary: Vocabulary) -> int | None:
    """The nearest tempo's token; None where the vocabulary has no tempos."""
    if not len(vocabulary.tempos):
        return None
    return vocabulary.tempo0 + int(vocabulary.tempo_bins(np.array([60e6 / bpm]))[0])
