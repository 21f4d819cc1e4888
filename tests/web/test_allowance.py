"""How often something may be tried."""

from forwarder.web.allowance import MOST_NAMES, Allowance
from tests.clocks import QuickClock


def test_so_many_at_once_and_then_one_at_a_time() -> None:
    clock = QuickClock()
    tries = Allowance(clock, burst=3, every=10)
    for _ in range(3):
        assert tries.wait("a") == 0
        tries.spend("a")
    assert tries.wait("a") == 10
    clock.advance(10)
    assert tries.wait("a") == 0
    tries.spend("a")
    assert tries.wait("a") == 10


def test_who_rested_long_enough_has_all_of_them_again_and_no_more() -> None:
    clock = QuickClock()
    tries = Allowance(clock, burst=2, every=10)
    for _ in range(2):
        tries.spend("a")
    clock.advance(1000)
    for _ in range(2):
        assert tries.wait("a") == 0
        tries.spend("a")
    assert tries.wait("a") == 10


def test_each_name_has_its_own() -> None:
    tries = Allowance(QuickClock(), burst=1, every=10)
    tries.spend("a")
    assert (tries.wait("a"), tries.wait("b")) == (10, 0)


def test_strangers_cannot_fill_the_memory() -> None:
    tries = Allowance(QuickClock(), burst=1, every=10)
    for number in range(MOST_NAMES + 1):
        tries.spend(str(number))
    assert tries.wait("0") == 0
    assert tries.wait(str(MOST_NAMES)) == 10
