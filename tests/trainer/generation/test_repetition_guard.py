import numpy as np
import pytest

from trainer.generation.repetition_guard import RepetitionGuard


def blocked_by_definition(symbols, bars, max_bars, max_period):
    """Symbols that continue a loop of `max_bars` bars and at least one full period."""
    n, found = len(symbols), set()
    for period in range(1, max_period + 1):
        length = 0
        while n - 1 - length - period >= 0 and (
            symbols[n - 1 - length] == symbols[n - 1 - length - period]
        ):
            length += 1
        if length >= period and bars[-1] - bars[n - length] >= max_bars:
            found.add(symbols[n - period])
    return sorted(found)


@pytest.mark.parametrize("per_bar", [4, 12, 40])
@pytest.mark.parametrize("seed", range(5))
def test_blocked_symbols_match_the_definition(seed, per_bar):
    random = np.random.default_rng(seed)
    symbols = [
        *random.integers(0, 3, 20),
        *[0, 1, 2, 1] * 3 * (per_bar // 4 + 1),
        *random.integers(0, 2, 40),
    ]
    bars = np.arange(len(symbols)) // per_bar
    guard = RepetitionGuard(2, max_period=10)
    for n, (symbol, bar) in enumerate(zip(symbols, bars, strict=True)):
        guard.push(int(symbol), int(bar))
        expected = blocked_by_definition(symbols[: n + 1], bars[: n + 1], 2, 10)
        assert guard.blocked_symbols().tolist() == expected


def test_a_loop_is_blocked_after_its_bars_and_not_before():
    guard, blocked_bars = RepetitionGuard(4), []
    for bar in range(12):
        for symbol in (7, 8, 9):
            if 7 in guard.blocked_symbols():
                blocked_bars.append(bar)
            guard.push(symbol, bar)
    assert blocked_bars[0] == 6  # the first bar, four that repeat it, and the next
