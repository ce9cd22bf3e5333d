"""Whether this machine can play songs; tests of sound are skipped where it cannot."""

import os

import pytest

from shards.render.audio import usable_soundfont

REQUIRED = os.environ.get("LAKHXL_AUDIO") == "required"
needs_audio = pytest.mark.skipif(
    not REQUIRED and usable_soundfont(None) is None,
    reason="needs FluidSynth and a soundfont (apt install libfluidsynth3 timgm6mb-soundfont)",
)
