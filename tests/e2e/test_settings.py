"""Invalid settings, and the sources of settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.e2e.harness import detail, fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import CommandResult, Installation

# Settings files with several invalid fields. Each field has its value and words that the error must contain.
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
LATE: Wrong = {("source", "max_lateness"): ("1h", ["full_scan_interval", "max_lateness"])}
LARGER: Wrong = {("destination", "max_entry_bytes"): (1_000_001, ["max_entry_bytes", "max_request_bytes"])}
INVALID_FILES: dict[str, Wrong] = {
    "unknown": UNKNOWN,
    "one by one": ONE_BY_ONE,
    "more": MORE,
    "together": TOGETHER,
    "late": LATE,
    "larger": LARGER,
}
FIELDS = [(invalid_file, section, field) for invalid_file, wrong in INVALID_FILES.items() for section, field in wrong]


@pytest.fixture(scope="module")
def run_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], CommandResult]:
    """Return a function that runs `once` with an invalid file. It ends before it reads keys or sends a request."""

    @cache
    def run(invalid_file: str) -> CommandResult:
        installation = Installation(
            tmp_path_factory.mktemp("settings"), alloy="http://127.0.0.1:9", bus="http://127.0.0.1:9"
        )
        for (section, field), (value, _) in INVALID_FILES[invalid_file].items():
            installation.change(section, **{field: value})
        return installation.run_command("once")

    return run


@pytest.mark.parametrize(("invalid_file", "section", "field"), FIELDS)
def test_invalid_settings_exit_78_and_name_each_field(
    run_with: Callable[[str], CommandResult], invalid_file: str, section: str, field: str
) -> None:
    done = run_with(invalid_file)
    assert done.code == 78
    _, words = INVALID_FILES[invalid_file][section, field]
    faults = done.err.replace("error: ", "").replace("\n", "; ").split("; ")
    about = [fault for fault in faults if words[0] in fault]
    assert any(all(word in fault for word in words) for fault in about), done.err


def test_file_without_toml_is_refused_with_its_line(installation: Installation) -> None:
    installation.write("enabled = true\n[source\n")
    done = installation.run_command("once")
    assert done.code == 78
    assert "line 2" in done.err


def test_error_contains_no_invalid_value(installation: Installation) -> None:
    installation.change("destination", aws_secret_access_key="planted-in-the-wrong-place")
    installation.change("source", timeout="planted-value")
    assert "planted" not in installation.run_command("once").output


def test_key_in_the_settings_file_is_refused(installation: Installation) -> None:
    installation.change("source", api_key="x")
    done = installation.run_command("once")
    assert done.code == 78
    assert "source.api_key" in done.err


def test_environment_overrides_the_file(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.env |= {"FORWARDER_EVENT__SOURCE": "ours", "FORWARDER_EVENT__PAYLOAD": "none"}
    installation.env["FORWARDER_SOURCE__WORKFLOWS"] = '["v"]'
    fail(alloy, "a", workflow="v")
    assert installation.run_command("once").code == 0
    assert "results" not in detail(bus, "a")
    assert bus.delivered[0].entry["Source"] == "ours"


def test_invalid_variable_is_refused_with_its_name(installation: Installation) -> None:
    installation.env["FORWARDER_SOURCE__PAGE_SIZE"] = "many"
    done = installation.run_command("once")
    assert done.code == 78
    assert "FORWARDER_SOURCE__PAGE_SIZE" in done.err
    assert "or change the variable" in done.err


def test_hint_names_no_variable_if_none_is_set(installation: Installation) -> None:
    installation.change("source", page_size="many")
    done = installation.run_command("once")
    assert "hint:  edit" in done.err
    assert "change the variable" not in done.err


def test_unknown_variable_is_a_warning(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.env |= {"FORWARDER_COLOUR": "blue", "FORWARDER_SOURCE__PAGE_SIZ": "3"}
    fail(alloy, "a")
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (0, ["a"])
    assert "FORWARDER_COLOUR" in done.err
    assert "FORWARDER_SOURCE__PAGE_SIZ" in done.err


def test_relative_path_is_relative_to_the_settings_file(installation: Installation) -> None:
    (installation.directory / "state").mkdir()
    installation.change("ledger", url="sqlite:///state/ledger.db")
    assert installation.run_command("once").code == 0
    assert (installation.directory / "state" / "ledger.db").exists()


def test_ledger_that_cannot_be_created_is_named(installation: Installation) -> None:
    installation.change("ledger", url="sqlite:///no/such/place/ledger.db")
    done = installation.run_command("once")
    assert done.code == 78
    assert "no/such/place" in done.err
    assert "Traceback" not in done.err


def test_version_header_replaces_the_version_in_the_path(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.api.version = ""
    installation.change("source", version="", version_header="2025-09")
    fail(alloy, "a", variant="2025-09")
    assert installation.run_command("once").code == 0
    assert {request.headers.get("x-api-version") for request in alloy.requests} == {"2025-09"}
    assert sent(bus) == ["a"]


def test_page_size_is_in_each_request(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.change("source", page_size=7)
    fail(alloy, *[f"x{number}" for number in range(9)])
    installation.run_command("once")
    assert {request.query["limit"] for request in alloy.requests} == {"7"}
    assert len(sent(bus)) == 9
