import numpy as np
import pytest

from trainer.generation.repetition_guard import LoopGuard


def tired_by_definition(symbols, bars, limit, longest):
    """The symbols that go on with a period which has held for the limit and a whole turn."""
    n, found = len(symbols), set()
    for period in range(1, longest + 1):
        length = 0
        while n - 1 - length - period >= 0 and (
            symbols[n - 1 - length] == symbols[n - 1 - length - period]
        ):
            length += 1
        if length >= period and bars[-1] - bars[n - length] >= limit:
            found.add(symbols[n - period])
    return sorted(found)


@pytest.mark.parametrize("seed", range(5))
def test_loops_are_heard_as_defined(seed):
    random = np.random.default_rng(seed)
    symbols = [*random.integers(0, 3, 20), *[0, 1, 2, 1] * 8, *random.integers(0, 2, 40)]
    bars = np.arange(len(symbols)) // 4
    guard = LoopGuard(2, longest=10)
    for n, (symbol, bar) in enumerate(zip(symbols, bars, strict=True)):
        guard.push(int(symbol), int(bar))
        expected = tired_by_definition(symbols[: n + 1], bars[: n + 1], 2, 10)
        assert guard.tired().tolist() == expected


def test_a_loop_is_tired_after_its_bars_and_not_before():
    guard, turns = LoopGuard(4), []
    for bar in range(12):
        for symbol in (7, 8, 9):
            if 7 in guard.tired():
                turns.append(bar)
            guard.push(symbol, bar)
    assert turns[0] == 6  # one bar to begin with, four that repeat it, and the next
