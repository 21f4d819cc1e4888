"""Settings that are wrong, and where settings come from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.e2e.harness import detail, fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import CommandResult, Installation

# Files that are wrong in many ways at once: for each field its value and the words that help with it.
Wrong = dict[tuple[str, str], tuple[Any, list[str]]]
UNKNOWN: Wrong = {
    ("source", "min_intervall"): ("3s", ["source.min_intervall", "min_interval?"]),
    ("sorce", "page_size"): (10, ["sorce", "source"]),
    ("destination", "event_buss"): ("x", ["destination.event_buss", "event_bus?"]),
    ("", "enabeld"): (True, ["enabeld", "enabled?"]),
}
ONE_BY_ONE: Wrong = {
    ("source", "page_size"): ("many", ["source.page_size"]),
    ("source", "timeout"): (5, ["source.timeout", "30s"]),
    ("source", "workflows"): ("w", ["source.workflows"]),
    ("source", "base_url"): ("embedded.runalloy.com", ["source.base_url", "http"]),
    ("source", "unknown_status"): ("perhaps", ["source.unknown_status", "forward"]),
    ("source", "start_from"): ("yesterday", ["source.start_from", "beginning"]),
    ("source", "concurrency"): (0, ["source.concurrency"]),
    ("", "enabled"): ("yes please", ["enabled"]),
    ("", "on_enable"): ("later", ["on_enable", "catch_up"]),
    ("destination", "event_bus"): (None, ["destination.event_bus", "FORWARDER_DESTINATION__EVENT_BUS"]),
    ("destination", "region"): (None, ["destination.region", "FORWARDER_DESTINATION__REGION"]),
    ("event", "source"): ("aws.alloy", ["event.source", "aws."]),
    ("event", "detail_type"): ("d" * 129, ["event.detail_type", "128"]),
    ("event", "payload"): ("some", ["event.payload", "errors"]),
    ("run", "log_level"): ("loud", ["run.log_level", "info"]),
    ("ledger", "url"): ("postgres://x", ["ledger.url", "sqlite"]),
}
MORE: Wrong = {
    ("source", "page_size"): (0, ["source.page_size"]),
    ("source", "timeout"): ("5 parsecs", ["source.timeout", "30s"]),
    ("source", "workflows"): ([{"user_id": "u"}], ["source.workflows", "id"]),
    ("destination", "event_bus"): ("", ["destination.event_bus"]),
    ("event", "detail_type"): ("", ["event.detail_type"]),
}
TOGETHER: Wrong = {("source", "min_interval"): ("10m", ["min_interval", "max_interval"])}
LARGER: Wrong = {("destination", "max_entry_bytes"): (1_000_001, ["max_entry_bytes", "max_request_bytes"])}
LOTS: dict[str, Wrong] = {
    "unknown": UNKNOWN,
    "one by one": ONE_BY_ONE,
    "more": MORE,
    "together": TOGETHER,
    "larger": LARGER,
}
FIELDS = [(lot, section, field) for lot, wrong in LOTS.items() for section, field in wrong]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], CommandResult]:
    """What `once` says to the settings of a lot; it never comes to keys or a request."""

    @cache
    def told(lot: str) -> CommandResult:
        installation = Installation(
            tmp_path_factory.mktemp("settings"), alloy="http://127.0.0.1:9", bus="http://127.0.0.1:9"
        )
        for (section, field), (value, _) in LOTS[lot].items():
            installation.change(section, **{field: value})
        return installation.run_command("once")

    return told


@pytest.mark.parametrize(("lot", "section", "field"), FIELDS)
def test_wrong_settings_exit_78_and_name_each_field_and_its_hint(
    told: Callable[[str], CommandResult], lot: str, section: str, field: str
) -> None:
    done = told(lot)
    assert done.code == 78
    _, words = LOTS[lot][section, field]
    faults = done.err.replace("error: ", "").replace("\n", "; ").split("; ")
    about = [fault for fault in faults if words[0] in fault]
    assert any(all(word in fault for word in words) for fault in about), done.err


def test_a_file_that_is_no_toml_names_the_line(installation: Installation) -> None:
    installation.write("enabled = true\n[source\n")
    done = installation.run_command("once")
    assert done.code == 78
    assert "line 2" in done.err


def test_a_value_that_may_be_a_secret_is_not_repeated(installation: Installation) -> None:
    installation.change("destination", aws_secret_access_key="planted-in-the-wrong-place")
    installation.change("source", timeout="planted-value")
    assert "planted" not in installation.run_command("once").output


def test_keys_in_the_settings_file_are_sent_to_the_vault(installation: Installation) -> None:
    installation.change("source", api_key="x")
    done = installation.run_command("once")
    assert done.code == 78
    assert "source.api_key" in done.err


def test_the_environment_overrides_the_file(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.env |= {"FORWARDER_EVENT__SOURCE": "ours", "FORWARDER_EVENT__PAYLOAD": "none"}
    installation.env["FORWARDER_SOURCE__WORKFLOWS"] = '["v"]'
    fail(alloy, "a", workflow="v")
    assert installation.run_command("once").code == 0
    assert "results" not in detail(bus, "a")
    assert bus.delivered[0].entry["Source"] == "ours"


def test_a_wrong_variable_is_an_error_that_names_the_variable(installation: Installation) -> None:
    installation.env["FORWARDER_SOURCE__PAGE_SIZE"] = "many"
    done = installation.run_command("once")
    assert done.code == 78
    assert "FORWARDER_SOURCE__PAGE_SIZE" in done.err


def test_unknown_variables_only_warn(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.env |= {"FORWARDER_COLOUR": "blue", "FORWARDER_SOURCE__PAGE_SIZ": "3"}
    fail(alloy, "a")
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (0, ["a"])
    assert "FORWARDER_COLOUR" in done.err
    assert "FORWARDER_SOURCE__PAGE_SIZ" in done.err


def test_paths_are_relative_to_the_settings_file(installation: Installation) -> None:
    (installation.directory / "state").mkdir()
    installation.change("ledger", url="sqlite:///state/books.db")
    assert installation.run_command("once").code == 0
    assert (installation.directory / "state" / "books.db").exists()


def test_a_ledger_that_cannot_be_made_is_said_to_be_so(installation: Installation) -> None:
    installation.change("ledger", url="sqlite:///no/such/place/books.db")
    done = installation.run_command("once")
    assert done.code == 78
    assert "no/such/place" in done.err
    assert "Traceback" not in done.err


def test_a_version_header_and_no_version_in_the_path(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.api.version = ""
    installation.change("source", version="", version_header="2025-09")
    fail(alloy, "a", variant="2025-09")
    assert installation.run_command("once").code == 0
    assert {request.headers.get("x-api-version") for request in alloy.requests} == {"2025-09"}
    assert sent(bus) == ["a"]


def test_the_size_of_a_page_is_asked_for(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.change("source", page_size=7)
    fail(alloy, *[f"x{number}" for number in range(9)])
    installation.run_command("once")
    assert {request.query["limit"] for request in alloy.requests} == {"7"}
    assert len(sent(bus)) == 9
