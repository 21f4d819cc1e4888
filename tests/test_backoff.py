"""The waits between retries grow from the base to the cap, and are never shorter than the floor."""

import pytest

from forwarder.backoff import Backoff, jitter, max_wait

SAMPLES = 200
"""With so many random waits, a limit that is twice as high would be noticed."""


@pytest.mark.parametrize(("step", "ceiling"), [(0, 1.0), (1, 2.0), (2, 4.0), (3, 5.0), (1000, 5.0)])
def test_backoff_wait_is_within_the_ceiling_of_its_step(step: int, ceiling: float) -> None:
    waits: list[float] = []
    for _ in range(SAMPLES):
        backoff = Backoff(base=1.0, cap=5.0)
        waits.append([backoff.next() for _ in range(step + 1)][-1])
    assert ceiling / 2 < max(waits) <= ceiling
    assert max_wait(step, base=1.0, cap=5.0) == ceiling


def test_backoff_after_a_reset_starts_at_the_base() -> None:
    backoff = Backoff(base=1.0, cap=1000.0)
    waits: list[float] = []
    for _ in range(SAMPLES):
        for _ in range(5):
            backoff.next()
        backoff.reset()
        waits.append(backoff.next())
        backoff.reset()
    assert 0.5 < max(waits) <= 1.0


def test_wait_is_at_least_the_floor() -> None:
    assert jitter(0.0) == 0.05
    assert Backoff(base=0.0, cap=0.0).next() == 0.05
    assert Backoff(base=0.0, cap=0.0, floor=2.0).next() == 2.0
