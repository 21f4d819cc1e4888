"""The rate limiter of logins and webhooks."""

from forwarder.web.rate_limit import MAX_KEYS, RateLimiter
from tests.virtual_clock import QuickClock


def test_so_many_at_once_and_then_one_at_a_time() -> None:
    clock = QuickClock()
    limiter = RateLimiter(clock, burst=3, refill_seconds=10)
    for _ in range(3):
        assert limiter.retry_after("a") == 0
        limiter.consume("a")
    assert limiter.retry_after("a") == 10
    clock.advance(10)
    assert limiter.retry_after("a") == 0
    limiter.consume("a")
    assert limiter.retry_after("a") == 10


def test_who_rested_long_enough_has_all_of_them_again_and_no_more() -> None:
    clock = QuickClock()
    limiter = RateLimiter(clock, burst=2, refill_seconds=10)
    for _ in range(2):
        limiter.consume("a")
    clock.advance(1000)
    for _ in range(2):
        assert limiter.retry_after("a") == 0
        limiter.consume("a")
    assert limiter.retry_after("a") == 10


def test_each_name_has_its_own() -> None:
    limiter = RateLimiter(QuickClock(), burst=1, refill_seconds=10)
    limiter.consume("a")
    assert (limiter.retry_after("a"), limiter.retry_after("b")) == (10, 0)


def test_strangers_cannot_fill_the_memory() -> None:
    limiter = RateLimiter(QuickClock(), burst=1, refill_seconds=10)
    for number in range(MAX_KEYS + 1):
        limiter.consume(str(number))
    assert limiter.retry_after("0") == 0
    assert limiter.retry_after(str(MAX_KEYS)) == 10
