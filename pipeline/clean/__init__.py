"""Recording -> Song -> tokens: what may stay, where it lies on the grid, what is measured of it.

quantize.py grid_controls.py order.py   ticks -> steps, compiled
silence.py     long silences out
features.py feature_kernels.py grid_fit.py   the measured columns
rules.py       what is turned down
encode.py fingerprint.py   tokens; what copies are told by
"""
