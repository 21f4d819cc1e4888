"""A property of every ledger store: random sequences of operations agree with a model after each step."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from forwarder.ledger import Counters, Dead, EntryFilter, EntryState, Ledger, Postponed, Sent
from forwarder.model import Checkpoint, Token
from tests.factories import FEED, add_feed, entry, examples
from tests.ledger.contract import LedgerContract, OpenLedger
from tests.virtual_clock import NOON

T = TypeVar("T")

IDS = [f"e-{number}" for number in range(8)]
ID_RETENTION, PAYLOAD_RETENTION = timedelta(days=30), timedelta(days=1)
MAX_STEPS = 40

some_ids = st.none() | st.lists(st.sampled_from(IDS), max_size=3)


def stop_time(execution_id: str) -> datetime:
    """Return the time at which an execution stopped, which is different for each id."""
    return NOON + timedelta(days=10 * IDS.index(execution_id), milliseconds=1)


def settlement(token: Token, outcome: str, due: datetime) -> Sent | Dead | Postponed:
    match outcome:
        case "sent":
            return Sent(token, "event")
        case "dead":
            return Dead(token, "MalformedDetail", "why")
        case _:
            return Postponed(token, "ThrottlingException", due)


class LedgerMachine(RuleBasedStateMachine):
    """A ledger and the state that it should have. The logs API lists every id at any time."""

    def __init__(self, opener: Callable[[], AbstractContextManager[OpenLedger]]) -> None:
        super().__init__()
        self.storage = opener()
        self.open_ledger = self.storage.__enter__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.ledger: Ledger
        self.now = NOON
        self.states: dict[str, str] = {}
        self.due: dict[str, datetime] = {}
        self.claimed: dict[str, Token] = {}
        self.tokens: dict[str, Token] = {}
        self.replays: Counter[str] = Counter()

    def run(self, operation: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(operation)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        self.storage.__exit__(None, None, None)

    @initialize()
    def open(self) -> None:
        self.ledger = self.run(self.stack.enter_async_context(self.open_ledger()))

    @rule()
    def restart(self) -> None:
        self.run(self.stack.aclose())
        self.open()
        self.claimed.clear()

    @rule(by=st.sampled_from([timedelta(seconds=1), timedelta(hours=2), timedelta(days=31)]))
    def pass_time(self, by: timedelta) -> None:
        self.now += by

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=5))
    def record(self, ids: list[str]) -> None:
        """Record like a poll, which finds nothing that stopped at or before the floor."""
        floor = self.run(add_feed(self.ledger, FEED, Checkpoint())).floor
        listed = [each for each in ids if stop_time(each) <= self.now and (floor is None or stop_time(each) > floor)]
        new = set(listed) - set(self.states)
        assert self.run(self.ledger.known_ids(ids)) == {
            each for each in ids if self.states.get(each, "forgotten") != "forgotten"
        }
        entries = [entry(each, time=stop_time(each)) for each in listed]
        assert self.run(self.ledger.record(FEED, entries, now=self.now)) == len(new)
        self.states.update(dict.fromkeys(new, "pending"))
        self.due.update(dict.fromkeys(new, self.now))

    @rule(limit=st.integers(1, 5))
    def claim(self, limit: int) -> None:
        ready = {each for each, state in self.states.items() if state == "pending" and self.due[each] <= self.now}
        ready -= set(self.claimed)
        claimed = self.run(self.ledger.claim(limit, now=self.now))
        ids = [each.entry.execution_id for each in claimed]
        assert len(ids) == len(set(ids)) == min(limit, len(ready))
        assert set(ids) <= ready
        assert [self.due[each] for each in ids] == sorted(self.due[each] for each in ids)
        assert [each.entry for each in claimed] == [entry(each, time=stop_time(each)) for each in ids]
        assert [each.send_number for each in claimed] == [1 + self.replays[each] for each in ids]
        self.claimed.update({each.entry.execution_id: each.token for each in claimed})
        self.tokens.update(self.claimed)

    @rule(outcomes=st.lists(st.sampled_from(["sent", "dead", "postponed"]), min_size=1, max_size=5))
    def settle(self, outcomes: list[str]) -> None:
        due = self.now + timedelta(minutes=1)
        settlements = []
        for (each, token), outcome in zip(list(self.claimed.items()), outcomes, strict=False):
            del self.claimed[each]
            self.states[each] = "pending" if outcome == "postponed" else outcome
            self.due[each] = due
            settlements.append(settlement(token, outcome, due))
        self.run(self.ledger.settle(settlements, now=self.now))

    @rule(outcome=st.sampled_from(["sent", "dead"]))
    def settle_again(self, outcome: str) -> None:
        """Settle a second time, which changes nothing. This happens if the result of a commit was lost."""
        settled = [token for each, token in self.tokens.items() if self.states[each] != "pending"]
        self.run(self.ledger.settle([settlement(token, outcome, self.now) for token in settled], now=self.now))

    @rule()
    def release(self) -> None:
        self.ledger.release(list(self.claimed.values()))
        self.claimed.clear()

    @rule(ids=some_ids)
    def retry(self, ids: list[str] | None) -> None:
        dead = self.dead(ids)
        assert self.run(self.ledger.retry_dead_letters(ids, now=self.now)) == len(dead)
        self.states.update(dict.fromkeys(dead, "pending"))
        self.due.update(dict.fromkeys(dead, self.now))

    @rule(ids=some_ids)
    def purge(self, ids: list[str] | None) -> None:
        dead = self.dead(ids)
        assert self.run(self.ledger.purge_dead_letters(ids)) == len(dead)
        self.states.update(dict.fromkeys(dead, "purged"))

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=3))
    def replay(self, ids: list[str]) -> None:
        """Replay sent entries. The payload of some is no longer stored, and they stay sent."""
        replayed = set(ids) & self.listed("sent")
        assert self.run(self.ledger.replay_executions(ids, now=self.now)) == len(replayed)
        self.states.update(dict.fromkeys(replayed, "pending"))
        self.replays.update(replayed)
        self.due.update(dict.fromkeys(replayed, self.now))

    @rule()
    def apply_retention(self) -> None:
        while self.run(
            self.ledger.apply_retention(now=self.now, id_retention=ID_RETENTION, payload_retention=PAYLOAD_RETENTION)
        ):
            pass
        known_ids = self.run(self.ledger.known_ids(IDS))
        for each, state in self.states.items():
            if state != "forgotten" and each not in known_ids:
                assert state in ("sent", "purged")
                assert stop_time(each) <= self.now - ID_RETENTION + timedelta(seconds=1)
                self.states[each] = "forgotten"

    @invariant()
    def counters_balance(self) -> None:
        counts = Counter(self.states.values())
        settled = {state: counts[state] for state in ("pending", "sent", "dead", "purged", "forgotten")}
        audited = self.run(self.ledger.audit())
        assert audited == self.run(self.ledger.counters())
        assert audited == Counters(recorded=len(self.states), **settled)
        dead = {dead_letter.entry.execution_id for dead_letter in self.run(self.ledger.dead_letters())}
        assert dead == set(self.dead(None)) == self.listed("dead")
        assert self.listed("pending") == {each for each, state in self.states.items() if state == "pending"}
        assert self.listed("sent") <= {each for each, state in self.states.items() if state == "sent"}

    def listed(self, state: EntryState) -> set[str]:
        """Return the ids of the entries in a state, read in pages of two."""
        found: list[str] = []
        page = self.run(self.ledger.entries(EntryFilter(state), 2))
        while True:
            found += [each.entry.execution_id for each in page.entries]
            if page.next is None:
                break
            page = self.run(self.ledger.entries(EntryFilter(state), 2, before=page.next))
        assert len(found) == len(set(found))
        return set(found)

    def dead(self, ids: list[str] | None) -> list[str]:
        return [each for each, state in self.states.items() if state == "dead" and (ids is None or each in ids)]


class RandomOperationsContract(LedgerContract):
    random_runs, short_random_runs = 120, 24

    def test_counters_balance_after_random_operations(self) -> None:
        class Machine(LedgerMachine):
            def __init__(machine) -> None:  # noqa: N805  # self is the test
                super().__init__(self.opener)

        number = examples(self.random_runs, short=self.short_random_runs)
        run_state_machine_as_test(Machine, settings=settings(number, stateful_step_count=MAX_STEPS))
