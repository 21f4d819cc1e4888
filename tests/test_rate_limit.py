"""The rate limiters: a burst, a rate, and nothing beyond both."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.rate_limit import MAX_KEYS, USAGE_SECONDS, KeyedRateLimiter, RateLimiter, UsageMeter
from tests.factories import examples
from tests.virtual_clock import QuickClock

INTERVAL_SECONDS = 0.5
"""A power of two, so that every time in these properties is exact."""

pauses = st.lists(st.integers(0, 12).map(lambda quarters: quarters / 4), min_size=1, max_size=60)
bursts = st.integers(1, 5)


class TokenBucket:
    """A model of the limiter: tokens are added at a rate up to the burst, and a request may leave a debt of them."""

    def __init__(self, clock: QuickClock, burst: int) -> None:
        self.clock = clock
        self.burst = burst
        self.tokens = float(burst)
        self.updated_at = clock.monotonic()

    def take(self) -> float:
        now = self.clock.monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.updated_at) / INTERVAL_SECONDS)
        self.updated_at = now
        self.tokens -= 1
        return now + max(0.0, -self.tokens) * INTERVAL_SECONDS


def create_limiter(clock: QuickClock, burst: int = 1) -> RateLimiter:
    return RateLimiter(clock, interval_seconds=INTERVAL_SECONDS, burst=burst)


@given(pauses, bursts)
@examples(200)
def test_limiter_agrees_with_a_token_bucket(seconds: list[float], burst: int) -> None:
    clock = QuickClock()
    limiter, model = create_limiter(clock, burst), TokenBucket(clock, burst)
    for pause in seconds:
        clock.advance(pause)
        assert limiter.take() == model.take()


@given(pauses, bursts)
@examples(200)
def test_no_window_exceeds_burst_and_rate(seconds: list[float], burst: int) -> None:
    """Every window of time has at most `burst` requests and those that the rate adds in it."""
    clock = QuickClock()
    limiter = create_limiter(clock, burst)
    allowed_at = []
    for pause in seconds:
        clock.advance(pause)
        allowed_at.append(limiter.take())
    assert allowed_at == sorted(allowed_at)
    for first, start in enumerate(allowed_at):
        for last, end in enumerate(allowed_at[first:], first):
            assert last - first + 1 <= burst + math.floor((end - start) / INTERVAL_SECONDS)


@given(pauses, bursts)
@examples(100)
def test_taking_only_allowed_requests_never_waits(seconds: list[float], burst: int) -> None:
    clock = QuickClock()
    limiter = create_limiter(clock, burst)
    for pause in seconds:
        clock.advance(pause)
        if limiter.wait_seconds == 0:
            assert limiter.take() == clock.monotonic()
        else:
            assert limiter.next_at == clock.monotonic() + limiter.wait_seconds


def test_burst_is_full_again_after_a_rest_and_no_larger() -> None:
    clock = QuickClock()
    limiter = create_limiter(clock, burst=3)
    for _ in range(2):
        assert [limiter.take() - clock.monotonic() for _ in range(5)] == [0, 0, 0, 0.5, 1]
        clock.advance(1000)


@pytest.mark.parametrize("burst", [1, 3])
def test_blocked_limiter_allows_no_burst_at_the_end(burst: int) -> None:
    clock = QuickClock()
    limiter = create_limiter(clock, burst)
    limiter.block_until(clock.monotonic() + 30)
    assert limiter.wait_seconds == 30
    assert [limiter.take() - clock.monotonic() for _ in range(3)] == [30, 30.5, 31]


def test_shorter_block_does_not_shorten_a_longer_one() -> None:
    clock = QuickClock()
    limiter = create_limiter(clock)
    limiter.block_until(clock.monotonic() + 30)
    limiter.block_until(clock.monotonic() + 1)
    assert limiter.wait_seconds == 30


def create_keyed_limiter(clock: QuickClock, burst: int = 1) -> KeyedRateLimiter:
    return KeyedRateLimiter(clock, interval_seconds=10, burst=burst)


def test_key_has_a_burst_and_then_one_at_a_time() -> None:
    clock = QuickClock()
    limiter = create_keyed_limiter(clock, burst=3)
    for _ in range(3):
        assert limiter.wait_seconds("a") == 0
        limiter.take("a")
    assert limiter.wait_seconds("a") == 10
    clock.advance(10)
    assert limiter.wait_seconds("a") == 0
    limiter.take("a")
    assert limiter.wait_seconds("a") == 10


def test_rested_key_has_its_burst_again_and_no_more() -> None:
    clock = QuickClock()
    limiter = create_keyed_limiter(clock, burst=2)
    for _ in range(2):
        limiter.take("a")
    clock.advance(1000)
    for _ in range(2):
        assert limiter.wait_seconds("a") == 0
        limiter.take("a")
    assert limiter.wait_seconds("a") == 10


def test_request_that_is_not_allowed_lengthens_the_wait() -> None:
    limiter = create_keyed_limiter(QuickClock())
    for _ in range(3):
        limiter.take("a")
    assert limiter.wait_seconds("a") == 30


def test_each_key_has_its_own_limit() -> None:
    limiter = create_keyed_limiter(QuickClock())
    limiter.take("a")
    assert (limiter.wait_seconds("a"), limiter.wait_seconds("b")) == (10, 0)


def test_least_recently_used_key_is_dropped() -> None:
    limiter = create_keyed_limiter(QuickClock())
    for number in range(MAX_KEYS):
        limiter.take(str(number))
    limiter.take("0")
    limiter.take("new")
    assert [limiter.wait_seconds(key) for key in ("0", "1", "2", "new")] == [20, 0, 10, 10]


@examples(50)
@given(st.lists(st.tuples(st.floats(0, 90), st.integers(0, 5)), max_size=30))
def test_usage_is_the_mean_of_the_last_minute(steps: list[tuple[float, int]]) -> None:
    clock = QuickClock()
    meter = UsageMeter(clock)
    counted: list[int] = []
    for pause, requests in steps:
        clock.advance(pause)
        for _ in range(requests):
            meter.count()
            counted.append(int(clock.monotonic()))
    recent = [second for second in counted if second > int(clock.monotonic()) - USAGE_SECONDS]
    assert meter.requests_per_second == len(recent) / USAGE_SECONDS
