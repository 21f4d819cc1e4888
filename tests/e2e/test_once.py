"""`once`: one complete pass with an exit code for its result."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time

import pytest

from forwarder.demo.sample_data import execution
from tests.e2e.harness import detail, fail, numbered, pages, polls, publishing, sent
from tests.fakes.actions import Hang
from tests.fakes.alloy import FakeAlloy, unauthorized, unavailable
from tests.fakes.bus_faults import throttled
from tests.fakes.eventbridge import BUS, StrictEventBridge
from tests.harness.installation import MAX_COMMAND_SECONDS, NO_ADDRESS, PROGRAM, Installation


def test_failed_execution_is_delivered_as_an_event(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    (event,) = bus.delivered
    assert (event.entry["Source"], event.entry["DetailType"]) == ("alloy.embedded", "Workflow Execution Failed")
    assert (event.detail["executionId"], event.detail["workflowId"]) == ("a", "w")


def test_successful_and_running_executions_are_not_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "fine", outcome="success")
    fail(alloy, "at-work", outcome="running")
    fail(alloy, "a")
    installation.run_command("once")
    assert sent(bus) == ["a"]


def test_second_pass_sends_nothing_again(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, *numbered(12))
    installation.run_command("once")
    installation.run_command("once")
    assert sent(bus) == numbered(12)


def test_once_reads_all_pages_of_all_feeds(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=["w", "v"])
    fail(alloy, *numbered(65, "w"))
    fail(alloy, *numbered(31, "v"), workflow="v")
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(31, "v") + numbered(65, "w")


def test_feed_of_a_user_requests_and_names_the_user(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=[{"id": "w", "user_id": "zoë/1"}])
    for id_, user_id in (("hers", "zoë/1"), ("his", "u2")):
        alloy.api.add("w", execution("unfinished", id=id_, started=alloy.api.now()), user_id=user_id)
    installation.run_command("once")
    assert sent(bus) == ["hers"]
    assert detail(bus, "hers")["userId"] == "zoë/1"
    assert {query["userId"] for query in pages(alloy)} == {"zoë/1"}


def test_requests_have_ten_events(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.change("event", payload="none")
    fail(alloy, *numbered(30))
    installation.run_command("once")
    assert [served.delivered for served in bus.served if served.operation == "PutEvents"] == [10, 10, 10]


def test_once_with_a_refused_key_exits_77_and_sends_pending(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(3))
    bus.buses.discard(BUS)
    installation.run_command("once", "--timeout", "1s")
    bus.buses.add(BUS)
    alloy.always(lambda _: unauthorized())
    done = installation.run_command("once")
    assert done.code == 77
    assert "keys set alloy-api-key" in done.err
    assert sent(bus) == numbered(3)


def test_once_with_an_unavailable_source_exits_69(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: unavailable())
    assert installation.run_command("once", "--timeout", "1s").code == 69


def test_once_with_an_unavailable_bus_exits_69_at_the_timeout(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The rest stays pending."""
    fail(alloy, "a", "b")
    bus.always(publishing(throttled()))
    began = time.monotonic()
    done = installation.run_command("once", "--timeout", "1s", "--json")
    assert (done.code, done.json()["counters"]["pending"]) == (69, 2)
    assert time.monotonic() - began < 10


def test_once_reports_a_missing_bus_with_nothing_pending(installation: Installation, bus: StrictEventBridge) -> None:
    bus.buses.discard(BUS)
    done = installation.run_command("once", "--timeout", "5s")
    assert done.code == 69
    assert BUS in done.err


def test_once_reports_an_unreachable_bus_with_nothing_pending(installation: Installation) -> None:
    installation.change("destination", endpoint_url=NO_ADDRESS)
    done = installation.run_command("once", "--timeout", "5s")
    assert (done.code, "cannot be reached" in done.err) == (69, True)


def test_once_reports_a_bus_that_is_silent_until_the_timeout(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        installation.change("destination", endpoint_url=address, timeout="30s")
        assert installation.run_command("once", "--timeout", "1s").code == 69


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_once_exits_130(installation: Installation, alloy: FakeAlloy, number: signal.Signals) -> None:
    """`timeout 50 forwarder once` in cron must not look complete while the logs API does not respond."""
    alloy.always(lambda _: Hang(30))
    words = [*PROGRAM, "-c", str(installation.settings_file), "once", "--json"]
    with subprocess.Popen(  # noqa: S603  # the program under test
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=installation.environment(), text=True
    ) as process:
        while not alloy.requests:
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=MAX_COMMAND_SECONDS)
    assert (process.returncode, json.loads(out)["interrupted"]) == (130, True)
    assert "Traceback" not in err


def test_once_with_two_failures_exits_with_the_worst(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    bus.buses.discard(BUS)
    installation.run_command("once", "--timeout", "1s")
    alloy.always(lambda _: unauthorized())
    assert installation.run_command("once", "--timeout", "1s").code == 77


def test_once_while_disabled_does_nothing_and_exits_0(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change(enabled=False)
    fail(alloy, "a")
    done = installation.run_command("once")
    assert (done.code, polls(alloy), bus.served) == (0, 0, [])
    assert "switched off" in done.out


def test_report_of_once_has_balanced_counters(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, *numbered(7))
    counters = installation.run_command("once", "--json").json()["counters"]
    assert counters == {"recorded": 7, "pending": 0, "sent": 7, "dead": 0, "purged": 0, "forgotten": 0}


def test_timeout_that_is_no_duration_is_a_usage_error(installation: Installation) -> None:
    done = installation.run_command("once", "--timeout", "soon")
    assert done.code == 2
    assert "60s" in done.err or "duration" in done.err


def test_once_reports_this_pass_and_the_totals(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a", "b")
    installation.run_command("once")
    fail(alloy, "c")
    assert installation.run_command("once").out.splitlines() == [
        "this pass: 1 recorded, 1 sent",
        "in total: 3 sent, 0 pending, 0 dead, of 3 ever recorded",
    ]
    report = installation.run_command("once", "--json").json()
    assert (report["recorded"], report["sent"], report["counters"]["sent"]) == (0, 0, 3)


def test_once_reports_an_error_of_many_feeds_once(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=["w", "v", "u"])
    alloy.always(lambda _: unauthorized())
    done = installation.run_command("once")
    assert (done.code, done.err.count("error: ")) == (77, 1), done.err
    assert "(3 feeds)" in done.err
    (error,) = installation.run_command("once", "--json").json()["errors"]
    assert error["count"] == 3
