"""`check`: each component once, a line each, a hint beside each failure."""

from __future__ import annotations

import pytest

from tests.e2e.harness import fail
from tests.fakes.alloy import FakeAlloy, unauthorized, unavailable
from tests.fakes.eventbridge import BUS, StrictEventBridge
from tests.harness.installation import Installation

COMPONENTS = ("settings", "vault", "logs API", "AWS identity", "event bus", "counters")


@pytest.fixture
def installation(installation: Installation, bus: StrictEventBridge) -> Installation:
    """Wherever it looks for STS, it finds it at the fake."""
    installation.env["AWS_ENDPOINT_URL_STS"] = bus.url
    return installation


def lines(output: str) -> dict[str, str]:
    """The mark of each part."""
    marked = [line for line in output.splitlines() if line[:1] in "✓✗" and line]
    return {line[2:].partition(":")[0]: line[0] for line in marked}


def test_all_is_well(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    installation.run_command("once")
    done = installation.run_command("check")
    assert done.code == 0
    assert lines(done.out) == dict.fromkeys(COMPONENTS, "✓")


def test_it_asks_the_logs_for_one_real_page_and_sends_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    installation.run_command("check")
    assert len(alloy.requests) == 1
    assert alloy.requests[0].path.endswith("/w/logs")
    assert {served.operation for served in bus.served} == {"STS", "DescribeEventBus"}


def test_it_names_the_identity(installation: Installation) -> None:
    assert "arn:aws:iam::123456789012:user/forwarder" in installation.run_command("check").out


def test_a_refused_alloy_key_exits_77_with_the_hint(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: unauthorized())
    done = installation.run_command("check")
    assert done.code == 77
    assert lines(done.out)["logs API"] == "✗"
    assert "keys set alloy-api-key" in done.out


def test_a_logs_api_that_is_down_exits_69(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: unavailable())
    done = installation.run_command("check")
    assert (done.code, lines(done.out)["logs API"]) == (69, "✗")


def test_refused_aws_keys_exit_77_and_the_bus_has_its_line_too(
    installation: Installation, bus: StrictEventBridge
) -> None:
    bus.keys.clear()
    done = installation.run_command("check")
    assert done.code == 77
    marks = lines(done.out)
    assert (marks["AWS identity"], marks.get("event bus")) == ("✗", "✗")


def test_a_bus_that_is_missing_exits_69_and_says_what_to_do(installation: Installation, bus: StrictEventBridge) -> None:
    bus.buses.discard(BUS)
    done = installation.run_command("check")
    assert (done.code, lines(done.out)["event bus"]) == (69, "✗")
    assert "event_bus" in done.out


def test_a_caller_who_may_not_describe_is_told_so_loudly_but_not_that_the_keys_are_refused(
    installation: Installation, bus: StrictEventBridge
) -> None:
    bus.denied.add("DescribeEventBus")
    output = installation.run_command("check").out
    assert "events:DescribeEventBus" in output
    assert "the bus refuses the keys" not in output


def test_a_damaged_vault_exits_78_with_its_line(installation: Installation) -> None:
    (installation.directory / "forwarder.keys").write_text("{}")
    done = installation.run_command("check")
    assert (done.code, lines(done.out)["vault"]) == (78, "✗")


def test_wrong_settings_exit_78_with_their_line(installation: Installation) -> None:
    installation.change("destination", region=None)
    done = installation.run_command("check")
    assert done.code == 78
    assert "destination.region" in done.output


def test_the_worst_of_several_wins(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    alloy.always(lambda _: unauthorized())
    bus.buses.discard(BUS)
    assert installation.run_command("check").code == 77


def test_aws_out_of_reach_exits_69(installation: Installation) -> None:
    installation.env["AWS_ENDPOINT_URL_STS"] = "http://127.0.0.1:9"
    installation.change("destination", endpoint_url="http://127.0.0.1:9")
    done = installation.run_command("check")
    assert (done.code, lines(done.out)["AWS identity"]) == (69, "✗")


def test_the_variable_for_the_address_of_sts_keeps_its_usual_meaning(installation: Installation) -> None:
    installation.env["AWS_ENDPOINT_URL_STS"] = "http://127.0.0.1:9"
    assert lines(installation.run_command("check").out)["AWS identity"] == "✗"


def test_it_reads_as_json_too(installation: Installation) -> None:
    report = installation.run_command("check", "--json").json()
    assert [line["name"] for line in report] == list(COMPONENTS)
    assert all(line["ok"] for line in report)


def test_it_shows_no_secret(installation: Installation, bus: StrictEventBridge) -> None:
    secrets = [key.secret for key in bus.keys.values()]
    bus.keys.clear()
    output = installation.run_command("check").output
    assert not [secret for secret in secrets if secret in output]
