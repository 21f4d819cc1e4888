"""Checks of the model of a fleet: no order of steps loses a pending execution, and each rule is necessary.

Each search visits every state within its bounds. It also has to visit a minimum of states, so that a change that
makes the model trivial fails.
"""

import pytest

from tests.ledger.fleet_model import Rules, Setup, explore

SETUPS = [
    pytest.param(Setup(members=3, finders=2), 15_000, id="three members"),
    pytest.param(Setup(members=2, finders=2, retries=1), 8_000, id="retry"),
    pytest.param(Setup(members=2, retries=1, renewals=1), 13_000, id="retry and renewal"),
]
LONG_SETUPS = [
    pytest.param(Setup(members=4), 250_000, id="four members"),
    pytest.param(Setup(members=3, finders=3), 190_000, id="three finders"),
    pytest.param(Setup(members=3, retries=1), 100_000, id="three members, retry"),
    pytest.param(Setup(members=3, renewals=1), 80_000, id="three members, renewal"),
]

ALL_RULES = Rules()

BASIC_STEPS = frozenset(
    ["journal find", "record", "heartbeat", "suspect", "seal", "journal adopted", "adopt", "see other", "gone"]
)
RETRY_STEPS = frozenset(["settle", "journal retry", "retry"])
RENEWAL_STEPS = frozenset(["journal renewed"])

WITHOUT_SEAL = """
    suspect z
    gone z, by m
    journal find z/0
    record z/0
"""
"""A paused owner wakes after its take-over, journals and records. If it crashes now, no heir reads it again."""

WITHOUT_EARLIER_OWNERS = """
    journal find z/0
    suspect z
    seal z
    record z/0
    journal adopted m/0 of z/0
    suspect m
    seal m
    journal adopted h/0 of m/0
    see other h/0
    gone m, by h
    heartbeat passes h/0
    adopt m/0
"""
"""The adoption by m is in flight while h takes over m. The execution still belongs to z, so h leaves it to the heirs
of z. Then the adoption arrives: the owner is m, which is gone, and the heirs of z leave the execution to m."""

WITHOUT_WAITING_MARK = """
    journal find z/0
    heartbeat passes z/0
    record z/0
"""

WITHOUT_ADOPTING_RETRIES = """
    journal find z/0
    suspect z
    record z/0
    settle z/0
    see other z/0
    journal retry z/1 of z/0
    seal z
    journal adopted m/0 of z/1
    see other m/0
    retry z/1
    heartbeat passes m/0
    adopt m/0
"""
"""The retry by z is in flight while m takes over z, and leaves the settled execution to z. Then the retry arrives."""


def verify(setup: Setup, min_states: int, rules: Rules = ALL_RULES) -> None:
    """Search a setup with all rules. Fail with the way to the loss if there is one."""
    exploration = explore(rules, setup)
    assert exploration.loss is None, "a pending execution is lost by:\n" + "\n".join(exploration.loss or [])
    assert exploration.states >= min_states
    retry_steps = RETRY_STEPS if setup.retries else frozenset()
    renewal_steps = RENEWAL_STEPS if setup.renewals else frozenset()
    assert exploration.step_names == BASIC_STEPS | retry_steps | renewal_steps


@pytest.mark.parametrize(("setup", "min_states"), SETUPS)
def test_pending_execution_is_never_lost(setup: Setup, min_states: int) -> None:
    verify(setup, min_states, Rules(short_lists=True))


@pytest.mark.long
@pytest.mark.parametrize(("setup", "min_states"), LONG_SETUPS)
def test_pending_execution_is_never_lost_by_more(setup: Setup, min_states: int) -> None:
    verify(setup, min_states)


@pytest.mark.parametrize(
    ("rules", "setup", "way"),
    [
        pytest.param(Rules(seal=False), Setup(members=2), WITHOUT_SEAL, id="seal"),
        pytest.param(Rules(earlier_owners=False), Setup(members=3), WITHOUT_EARLIER_OWNERS, id="earlier owners"),
        pytest.param(Rules(mark_waits=False), Setup(members=2), WITHOUT_WAITING_MARK, id="mark waits"),
        pytest.param(Rules(adopt_retry=False), Setup(members=2, retries=1), WITHOUT_ADOPTING_RETRIES, id="adopt retry"),
    ],
)
def test_execution_is_lost_without_a_rule(rules: Rules, setup: Setup, way: str) -> None:
    assert explore(rules, setup).loss == [line.strip() for line in way.strip().splitlines()]
