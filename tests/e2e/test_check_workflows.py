"""`check`: each workflow, the files of the web UI, the folder of the ledger, and a test event on request."""

from __future__ import annotations

import pytest

from forwarder.delivery.canary import DETAIL_TYPE
from forwarder.diagnostics.source import MAX_CHECKED_FEEDS
from tests.e2e.harness import numbered, polls
from tests.fakes.actions import HttpResponse
from tests.fakes.alloy import FakeAlloy, unavailable
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import CommandResult, Installation


@pytest.fixture
def installation(installation: Installation, bus: StrictEventBridge) -> Installation:
    installation.env["AWS_ENDPOINT_URL_STS"] = bus.url
    return installation


def line_of(result: CommandResult, name: str) -> str:
    """Return the line of a check."""
    (line,) = [line for line in result.out.splitlines() if line[2:].startswith(f"{name}: ")]
    return line


def test_check_names_each_workflow_that_is_not_found(installation: Installation) -> None:
    installation.change("source", workflows=["w", "gone", "lost"])
    result = installation.run_command("check")
    assert result.code == 69
    assert line_of(result, "logs API").startswith("✓")
    assert line_of(result, "workflows").startswith("✗ workflows: 2 of 3 cannot be polled: gone: ")
    assert "lost: " in line_of(result, "workflows")


def test_check_polls_many_workflows_up_to_its_bound(installation: Installation, alloy: FakeAlloy) -> None:
    names = numbered(MAX_CHECKED_FEEDS + 7)
    installation.change("source", workflows=names)
    for name in names:
        alloy.api.add_workflow(name)
    result = installation.run_command("check")
    assert result.code == 0
    assert f"{MAX_CHECKED_FEEDS} of {len(names)} responded" in line_of(result, "workflows")
    assert "7 were not tried" in line_of(result, "workflows")
    assert [polls(alloy, name) for name in names] == [1] * MAX_CHECKED_FEEDS + [0] * 7


def test_check_accepts_a_page_whose_records_are_read_singly(installation: Installation, alloy: FakeAlloy) -> None:
    """A poll reads such a page record by record, so it is no reason to fail."""
    alloy.always(lambda _: HttpResponse(200, {"Content-Type": "application/json"}, b'{"data": [{"id": tru]}'))
    result = installation.run_command("check")
    assert (result.code, line_of(result, "workflows")[:1]) == (0, "✓")


def test_check_of_an_api_that_is_down_tries_one_workflow(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=numbered(50))
    alloy.always(lambda _: unavailable())
    result = installation.run_command("check")
    assert (result.code, len(alloy.requests)) == (69, 1)
    assert line_of(result, "logs API").startswith("✗")


def test_check_without_workflows_fails_and_tries_the_key(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=[])
    result = installation.run_command("check")
    assert result.code == 78
    assert line_of(result, "logs API").startswith("✓")
    assert line_of(result, "workflows") == "✗ workflows: there is nothing to watch"
    assert alloy.requests


def test_check_reports_that_publishing_was_not_tried(installation: Installation, bus: StrictEventBridge) -> None:
    result = installation.run_command("check")
    assert result.code == 0
    assert line_of(result, "publishing").startswith("– publishing: not tried")
    (step,) = [step for step in installation.run_command("check", "--json").json() if step["name"] == "publishing"]
    assert step["ok"] is None
    assert not bus.delivered


def test_check_with_send_publishes_one_test_event(installation: Installation, bus: StrictEventBridge) -> None:
    result = installation.run_command("check", "--send")
    assert result.code == 0
    assert line_of(result, "publishing").startswith("✓ publishing: accepted with the EventId ")
    assert [event.entry["DetailType"] for event in bus.delivered] == [DETAIL_TYPE]


def test_check_with_send_fails_if_the_event_is_refused(installation: Installation, bus: StrictEventBridge) -> None:
    bus.next(entry_codes({0: "NotAuthorizedForSourceException"}))
    result = installation.run_command("check", "--send")
    assert result.code != 0
    assert line_of(result, "publishing").startswith("✗")
    assert "NotAuthorizedForSourceException" in line_of(result, "publishing")


@pytest.mark.parametrize(
    ("section", "fields", "name"),
    [
        ("web", {"listen": "127.0.0.1:0", "tls_cert": "none.pem", "tls_key": "none.pem"}, "web UI"),
        ("web", {"listen": "127.0.0.1:0", "alloy_public_key": "none.pem"}, "web UI"),
        ("ledger", {"url": "sqlite:///none/forwarder.db"}, "counters"),
    ],
)
def test_check_fails_where_run_fails(
    installation: Installation, section: str, fields: dict[str, str], name: str
) -> None:
    installation.change(section, **fields)
    result = installation.run_command("check")
    assert line_of(result, name).startswith("✗")
    assert result.code == installation.run_command("run").code != 0


@pytest.mark.parametrize("is_found", [True, False])
def test_check_without_workflows_says_so(installation: Installation, alloy: FakeAlloy, is_found: bool) -> None:
    """Also if the API does not know the path of the request that tries the key."""
    if not is_found:
        alloy.always(lambda _: HttpResponse(404, {"Content-Type": "application/json"}, b'{"message":"Not Found"}'))
    installation.change("source", workflows=[])
    result = installation.run_command("check")
    assert result.code == 78
    assert line_of(result, "workflows") == "✗ workflows: there is nothing to watch"
    assert "list workflows in [source]" in result.out
