"""`logs` and `rerun`: commands on the Error Logging API."""

from __future__ import annotations

import pytest

from tests.e2e.harness import fail, numbered, polls
from tests.fakes.alloy import FakeAlloy, unauthorized, unavailable
from tests.harness.installation import Installation

pytestmark = pytest.mark.long


def test_logs_has_a_line_for_each_execution(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "bad", outcome="failed-error-string")
    fail(alloy, "good", outcome="success")
    done = installation.run_command("logs", "w")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    assert "422" in lines["bad"]
    assert "succeeded" in lines["good"]


def test_logs_failed_lists_failed_executions_only(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "bad")
    fail(alloy, "good", outcome="success")
    assert [run["executionId"] for run in installation.run_command("logs", "w", "--failed", "--json").json()] == ["bad"]


def test_logs_with_a_limit_lists_no_more(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, *numbered(50))
    runs = installation.run_command("logs", "w", "--limit", "35", "--json").json()
    assert [run["executionId"] for run in runs] == numbered(50)[:14:-1]


def test_logs_failed_limits_failed_executions(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "long-ago", ago=3600)
    fail(alloy, *numbered(40), outcome="success")
    runs = installation.run_command("logs", "w", "--failed", "--limit", "1", "--json").json()
    assert [run["executionId"] for run in runs] == ["long-ago"]


def test_logs_as_json_is_the_response_of_the_api(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a", payload={"custom": ["ü", 1.5, None]})
    (run,) = installation.run_command("logs", "w", "--json").json()
    assert run["results"][0]["data"][0][0]["json"] == {"custom": ["ü", 1.5, None]}


def test_logs_needs_no_configured_workflow_and_no_ledger(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a", workflow="elsewhere/1")
    assert "a" in installation.run_command("logs", "elsewhere/1").out
    assert not list(installation.directory.glob("forwarder.db*"))


def test_logs_needs_no_settings_of_the_bus(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    installation.change("destination", event_bus=None, region=None)
    done = installation.run_command("logs", "w")
    assert (done.code, done.out.splitlines()[1].split()[0]) == (0, "a"), done.output


def test_logs_of_an_unknown_workflow_exit_69_and_name_it(installation: Installation) -> None:
    done = installation.run_command("logs", "nowhere")
    assert done.code == 69
    assert "nowhere" in done.err


def test_logs_with_a_refused_key_exit_77(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: unauthorized())
    assert installation.run_command("logs", "w").code == 77


def test_logs_without_executions_has_a_message(installation: Installation) -> None:
    done = installation.run_command("logs", "w")
    assert done.code == 0
    assert done.out.strip(), "an empty screen leaves one guessing"


def test_logs_removes_control_characters_of_an_error(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    alloy.api.update("a", error="red \x1b[31m[bold]alert[/bold] \x07 end")
    out = installation.run_command("logs", "w").out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]alert[/bold]" in out, "text is text, not markup"


def test_rerun_takes_the_workflow_from_the_ledger(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a", workflow="w")
    installation.run_command("once")
    done = installation.run_command("rerun", "a")
    assert (done.code, alloy.api.reruns) == (0, [("w", "a")])
    assert "37e974f0-00000001" in done.out, "the id of the new run"


def test_rerun_of_an_unknown_execution_requires_a_workflow(installation: Installation, alloy: FakeAlloy) -> None:
    installation.run_command("once")
    done = installation.run_command("rerun", "nobody")
    assert (done.code, alloy.api.reruns) == (2, [])
    assert "--workflow" in done.err


def test_rerun_with_a_workflow_needs_no_ledger(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a/b 🫖", workflow="v/1")
    assert installation.run_command("rerun", "a/b 🫖", "--workflow", "v/1").code == 0
    assert alloy.api.reruns == [("v/1", "a/b 🫖")]


def test_rerun_with_a_user_sends_it_to_the_api(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    installation.run_command("rerun", "a", "--workflow", "w", "--user", "zoë/1")
    assert alloy.requests[-1].query == {"userId": "zoë/1"}


def test_rerun_uses_the_user_of_the_feed(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=[{"id": "w", "user_id": "u1"}])
    fail(alloy, "a")
    alloy.api.remove_workflow("w")
    alloy.api.add("w", {"executionId": "b", "status": "failed", "stoppedAt": "2026-01-01T00:00:00Z"}, user_id="u1")
    installation.run_command("once")
    assert installation.run_command("rerun", "b").code == 0
    assert alloy.requests[-1].query == {"userId": "u1"}


def test_refused_rerun_is_requested_once(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    before = polls(alloy)
    done = installation.run_command("rerun", "gone", "--workflow", "w")
    assert done.code == 69
    assert polls(alloy) == before
    assert sum(request.method == "POST" for request in alloy.requests) == 1


@pytest.mark.parametrize("code", [500, 503])
def test_rerun_with_an_error_response_is_not_retried(installation: Installation, alloy: FakeAlloy, code: int) -> None:
    """A rerun is not idempotent: a second POST may process an order twice."""
    fail(alloy, "a")
    alloy.always(lambda _: unavailable(code))
    assert installation.run_command("rerun", "a", "--workflow", "w").code == 69
    assert sum(request.method == "POST" for request in alloy.requests) == 1
