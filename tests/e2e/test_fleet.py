"""Several forwarders on one ledger in DynamoDB: who polls, who takes over, and what each switch does."""

import asyncio
import json
import signal
import threading
import time
from collections import Counter
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from forwarder.ledger.dynamodb.schema import table_definition
from tests.e2e.harness import fail, publishing, sent
from tests.e2e.web_client import create_webhook, http_request, web_address
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import entry_codes, hold
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.dynalite import new_table_name, running_dynalite, table_client
from tests.harness.installation import Installation
from tests.harness.ports import free_port
from tests.harness.process import ForwarderProcess

pytestmark = pytest.mark.dynamodb

WORKFLOWS = [f"w-{number}" for number in range(12)]


@pytest.fixture
def url() -> str:
    endpoint_url, name = running_dynalite().endpoint_url, new_table_name()

    async def create() -> None:
        async with table_client(endpoint_url) as client:
            await client.create_table(**table_definition(name))

    asyncio.run(create())
    return f"dynamodb://{name}?region=eu-west-1&endpoint_url={endpoint_url}"


def installed(folder: Path, alloy: FakeAlloy, bus: StrictEventBridge, url: str) -> Installation:
    folder.mkdir()
    installation = Installation(
        folder,
        alloy=alloy.url,
        bus=bus.url,
        source={"workflows": WORKFLOWS},
        ledger={"url": url, "heartbeat_interval": "1s"},
    )
    installation.create_vault()
    return installation


@pytest.fixture
def pair(tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge, url: str) -> tuple[Installation, Installation]:
    for workflow in WORKFLOWS:
        alloy.api.add_workflow(workflow)
    return installed(tmp_path / "one", alloy, bus, url), installed(tmp_path / "two", alloy, bus, url)


def fail_each(alloy: FakeAlloy, suffix: str) -> list[str]:
    ids = [f"{workflow}-{suffix}" for workflow in WORKFLOWS]
    for workflow, execution_id in zip(WORKFLOWS, ids, strict=True):
        fail(alloy, execution_id, workflow=workflow)
    return ids


def wait_until_both_joined(first: ForwarderProcess, second: ForwarderProcess) -> None:
    for daemon in (first, second):
        daemon.wait_for_log("fleet changed")


def test_one_process_sends_each_failure_once_over_restarts(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    one, _ = pair
    ids = fail_each(alloy, "a")
    for _ in range(2):
        with one.start() as daemon:
            daemon.wait_until(daemon.has_started)
            daemon.wait_until(lambda: sorted(sent(bus)) == sorted(ids))
            assert daemon.stop() == 0
    assert one.run_command("status", "--json").json()["counters"]["sent"] == len(ids)


def test_two_processes_share_the_feeds(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    with pair[0].start() as first, pair[1].start() as second:
        ids = fail_each(alloy, "a")
        first.wait_until(lambda: set(sent(bus)) >= set(ids))
        wait_until_both_joined(first, second)
        later = fail_each(alloy, "b")
        first.wait_until(lambda: set(sent(bus)) >= set(later))
        assert first.stop() == second.stop() == 0
    assert Counter(sent(bus)).most_common(1)[0][1] == 1


def test_killed_process_loses_nothing(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The other one takes its feeds and its pending entries over after a few heartbeats."""
    with pair[0].start() as first, pair[1].start() as second:
        wait_until_both_joined(first, second)
        ids = fail_each(alloy, "a")
        first.wait_until(lambda: set(sent(bus)) >= set(ids))
        first.send(signal.SIGKILL)
        later = fail_each(alloy, "b")
        second.wait_until(lambda: set(sent(bus)) >= set(later))
        second.wait_for_log("entries of a member taken over")  # the feeds move first
        second.wait_until(lambda: sent_and_pending(pair[1]) == (2 * len(WORKFLOWS), 0))
        assert second.stop() == 0
    assert sent_and_pending(pair[1]) == (2 * len(WORKFLOWS), 0)


def sent_and_pending(installation: Installation) -> tuple[int, int]:
    counters = installation.run_command("status", "--json").json()["counters"]
    return counters["sent"], counters["pending"]


def test_paused_process_joins_again(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """A process that stood still for longer than the period was taken over, and drops what it had."""
    with pair[0].start() as first, pair[1].start() as second:
        wait_until_both_joined(first, second)
        ids = fail_each(alloy, "a")
        first.wait_until(lambda: settled(first) + settled(second) == len(ids))
        first.send(signal.SIGSTOP)
        later = fail_each(alloy, "b")
        second.wait_until(lambda: set(sent(bus)) >= set(later))
        first.send(signal.SIGCONT)
        first.wait_for_log("taken over by another forwarder")
        last = fail_each(alloy, "c")
        second.wait_until(lambda: set(sent(bus)) >= set(last))
        assert first.stop() == second.stop() == 0
    assert len(set(sent(bus))) == len(sent(bus)), "nothing was in flight when it was paused"


def test_process_that_ends_hands_over_at_once(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Its entries are pending, because the bus refuses every event. The other process adopts them."""
    for installation in pair:
        installation.change("ledger", heartbeat_interval="10s")  # a dead process would be noticed after 50 s
    ids = fail_each(alloy, "a")
    bus.always(publishing(entry_codes(dict.fromkeys(range(10), "ThrottlingException"))))
    with pair[0].start() as first:
        first.wait_until(lambda: all(first.has_logged("event retry scheduled", id_) for id_ in ids))
        assert first.stop() == 0
    bus.clear()
    with pair[1].start() as second:
        second.wait_until(lambda: sorted(sent(bus)) == sorted(ids))
        assert second.stop() == 0


def test_process_that_drains_is_not_taken_over(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Its requests take longer than the heartbeats after which it would be dead. The other gets its feeds at once."""
    for installation in pair:
        installation.change("destination", timeout="60s")
        installation.change("run", shutdown_grace="60s")
    released = threading.Event()
    with pair[0].start() as first, pair[1].start() as second:
        wait_until_both_joined(first, second)
        bus.always(publishing(hold(released, delivered=True)))
        ids = fail_each(alloy, "a")
        first.wait_until(lambda: recorded(first) + recorded(second) == len(ids))
        ending, other = (first, second) if recorded(first) else (second, first)
        own = {execution_id for execution_id in ids if ending.has_logged(f'"{execution_id[:-2]}"', '"recorded": 1,')}
        other.wait_until(lambda: own & set(sent(bus)))  # its first request is at the bus
        ending.send(signal.SIGTERM)
        bus.clear()
        later = fail_each(alloy, "b")
        other.wait_until(lambda: set(sent(bus)) >= set(later))
        time.sleep(MISSED_HEARTBEATS + 3)  # a heartbeat is due each second
        assert not ending.has_logged('"event": "stopped"'), "it still waits for its requests"
        released.set()
        assert ending.wait(within=20) == 0
        other.wait_until(lambda: settled(ending) + settled(other) == len({*ids, *later}))
        assert other.stop() == 0
    assert Counter(sent(bus)).most_common(1)[0][1] == 1


def recorded(daemon: ForwarderProcess) -> int:
    """Return the number of failures that the process has recorded, each by one poll."""
    return daemon.log.count('"recorded": 1,')


def settled(daemon: ForwarderProcess) -> int:
    """Return the number of events that the process has settled as sent."""
    lines = [line for line in daemon.log.splitlines(keepends=True) if '"events sent"' in line and line.endswith("\n")]
    return sum(json.loads(line)["entries"] for line in lines)


def test_disabled_process_leaves_the_others_going(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    with pair[0].start() as first, pair[1].start() as second:
        wait_until_both_joined(first, second)
        pair[0].change(enabled=False)
        first.wait_for_log("settings reloaded")
        ids = fail_each(alloy, "a")
        second.wait_until(lambda: sorted(sent(bus)) == sorted(ids))
        assert first.stop() == second.stop() == 0


def test_webhook_call_at_any_process_polls_the_workflow(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Each process polls some of the workflows, and none of them again within an hour. All calls arrive at one."""

    def is_divided() -> bool:
        members = pair[0].run_command("status", "--json").json()["members"]
        # A process counts a feed when it has polled it, which may be after that hour.
        return len(members) == 2 and any(0 < member["feeds"] < len(WORKFLOWS) for member in members)

    for installation in pair:
        installation.change("source", min_interval="1h", max_interval="1h")
        installation.change("web", listen="127.0.0.1:0")
    with pair[0].start() as first, pair[1].start() as second:
        wait_until_both_joined(first, second)
        webhook_url = create_webhook(pair[0], web_address(first))
        first.wait_until(is_divided)
        ids = fail_each(alloy, "a")
        for workflow in WORKFLOWS:
            first.wait_until(partial(is_accepted, webhook_url, workflow))
        first.wait_until(lambda: sorted(sent(bus)) == sorted(ids))
        assert first.stop() == second.stop() == 0


def is_accepted(webhook_url: str, workflow: str) -> bool:
    """Call the webhook, and return whether it triggered a poll. A new address takes effect within a second."""
    return bool(http_request(webhook_url, "POST", json.dumps({"workflowId": workflow}))[0] == HTTPStatus.ACCEPTED)


def test_command_retries_a_dead_letter_of_another_process(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.always(publishing(entry_codes(dict.fromkeys(range(10), "MalformedDetail"))))
    with pair[0].start() as daemon:
        ids = fail_each(alloy, "a")
        daemon.wait_until(lambda: len(pair[1].dead_letters()) == len(ids))
        bus.clear()
        assert pair[1].run_command("dead-letters", "retry", "--all").code == 0
        daemon.wait_until(lambda: sorted(sent(bus)) == sorted(ids))
        assert pair[1].run_command("replay", ids[0], "--yes").code == 0
        daemon.wait_until(lambda: sent(bus).count(ids[0]) == 2)
        assert daemon.stop() == 0


def test_table_that_is_deleted_and_created_again_is_used(
    pair: tuple[Installation, Installation], alloy: FakeAlloy, bus: StrictEventBridge, url: str
) -> None:
    name = url.removeprefix("dynamodb://").partition("?")[0]

    async def create_again() -> None:
        async with table_client(running_dynalite().endpoint_url) as client:
            await client.delete_table(TableName=name)
            await client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
            await client.create_table(**table_definition(name))

    with pair[0].start() as daemon:
        ids = fail_each(alloy, "a")
        daemon.wait_until(lambda: set(sent(bus)) >= set(ids))
        asyncio.run(create_again())
        later = fail_each(alloy, "b")
        daemon.wait_until(lambda: set(sent(bus)) >= set(later))
        assert daemon.stop() == 0


def test_missing_table_is_named(pair: tuple[Installation, Installation]) -> None:
    installation = pair[0]
    url = installation.settings["ledger"]["url"].replace("ledger-", "missing-")
    installation.change("ledger", url=url)
    for command in (["run"], ["once"], ["status"], ["check"]):
        done = installation.run_command(*command)
        assert done.code != 0
        assert "the table missing-" in done.output, command
        assert "does not exist" in done.output
        assert "Traceback" not in done.output


def test_start_without_the_table_exits_for_its_service_manager(pair: tuple[Installation, Installation]) -> None:
    installation = pair[0]
    url = installation.settings["ledger"]["url"].partition("&endpoint_url=")[0]
    installation.change("ledger", url=f"{url}&endpoint_url=http://127.0.0.1:{free_port()}")
    done = installation.run_command("run")
    assert done.code == LedgerUnavailable.exit_code
    assert "cannot be used" in done.output
    assert "hint:" in done.output
