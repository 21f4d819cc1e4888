"""`check`: one line for each component, and a hint beside each failure."""

from __future__ import annotations

import socket

import pytest

from tests.e2e.harness import fail
from tests.fakes.alloy import FakeAlloy, unauthorized, unavailable
from tests.fakes.eventbridge import BUS, StrictEventBridge
from tests.harness.installation import Installation

COMPONENTS = (
    *("settings", "web UI", "vault", "logs API", "workflows", "AWS identity", "event bus", "publishing", "counters"),
)


@pytest.fixture
def installation(installation: Installation, bus: StrictEventBridge) -> Installation:
    """Set the endpoint of STS to the fake bus."""
    installation.env["AWS_ENDPOINT_URL_STS"] = bus.url
    return installation


def lines(output: str) -> dict[str, str]:
    """Return the mark of each component."""
    marked = [line for line in output.splitlines() if line[:1] in "✓✗–" and line]
    return {line[2:].partition(":")[0]: line[0] for line in marked}


def test_check_of_a_working_installation_passes(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    installation.run_command("once")
    done = installation.run_command("check")
    assert done.code == 0
    assert lines(done.out) == dict.fromkeys(COMPONENTS, "✓") | {"publishing": "–"}


def test_check_requests_one_page_and_sends_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    installation.run_command("check")
    assert len(alloy.requests) == 1
    assert alloy.requests[0].path.endswith("/w/logs")
    assert {served.operation for served in bus.served} == {"STS", "DescribeEventBus"}


def test_check_names_the_aws_identity(installation: Installation) -> None:
    assert "arn:aws:iam::123456789012:user/forwarder" in installation.run_command("check").out


def test_check_with_a_refused_alloy_key_exits_77(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: unauthorized())
    done = installation.run_command("check")
    assert done.code == 77
    assert lines(done.out)["logs API"] == "✗"
    assert "keys set alloy-api-key" in done.out


def test_check_with_an_unavailable_logs_api_exits_69(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: unavailable())
    done = installation.run_command("check")
    assert (done.code, lines(done.out)["logs API"]) == (69, "✗")


def test_check_with_refused_aws_keys_exits_77_and_checks_the_bus(
    installation: Installation, bus: StrictEventBridge
) -> None:
    bus.keys.clear()
    done = installation.run_command("check")
    assert done.code == 77
    marks = lines(done.out)
    assert (marks["AWS identity"], marks.get("event bus")) == ("✗", "✗")
    assert "forwarder check" not in done.output, "a hint must not send its reader in a circle"


def test_check_with_a_missing_bus_exits_69_with_a_hint(installation: Installation, bus: StrictEventBridge) -> None:
    bus.buses.discard(BUS)
    done = installation.run_command("check")
    assert (done.code, lines(done.out)["event bus"]) == (69, "✗")
    assert "event_bus" in done.out


def test_check_with_denied_describe_does_not_call_keys_refused(
    installation: Installation, bus: StrictEventBridge
) -> None:
    bus.denied.add("DescribeEventBus")
    output = installation.run_command("check").out
    assert "events:DescribeEventBus" in output
    assert "the bus refuses the keys" not in output


def test_check_with_a_damaged_vault_exits_78(installation: Installation) -> None:
    (installation.directory / "forwarder.keys").write_text("{}")
    done = installation.run_command("check")
    assert (done.code, lines(done.out)["vault"]) == (78, "✗")


def test_check_with_wrong_settings_exits_78(installation: Installation) -> None:
    installation.change("destination", region=None)
    done = installation.run_command("check")
    assert done.code == 78
    assert "destination.region" in done.output


def test_check_with_several_failures_exits_with_the_worst(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.always(lambda _: unauthorized())
    bus.buses.discard(BUS)
    assert installation.run_command("check").code == 77


def test_check_with_unreachable_aws_exits_69(installation: Installation) -> None:
    installation.env["AWS_ENDPOINT_URL_STS"] = "http://127.0.0.1:9"
    installation.change("destination", endpoint_url="http://127.0.0.1:9")
    done = installation.run_command("check")
    marks = lines(done.out)
    assert (done.code, marks["AWS identity"], marks["event bus"]) == (69, "–", "✗")


def test_check_uses_the_endpoint_variable_of_sts(installation: Installation) -> None:
    installation.env["AWS_ENDPOINT_URL_STS"] = "http://127.0.0.1:9"
    assert lines(installation.run_command("check").out)["AWS identity"] == "–"


def test_check_with_neither_sts_nor_a_check_of_the_bus_exits_69(installation: Installation) -> None:
    installation.env["AWS_ENDPOINT_URL_STS"] = "http://127.0.0.1:9"
    installation.change("destination", verify=False)
    done = installation.run_command("check")
    assert (done.code, lines(done.out)["AWS identity"]) == (69, "✗")


def test_check_as_json_has_the_same_results(installation: Installation) -> None:
    report = installation.run_command("check", "--json").json()
    assert [line["name"] for line in report] == list(COMPONENTS)
    assert all(line["ok"] for line in report if line["name"] != "publishing")


def test_check_output_contains_no_secret(installation: Installation, bus: StrictEventBridge) -> None:
    secrets = [key.secret for key in bus.keys.values()]
    bus.keys.clear()
    output = installation.run_command("check").output
    assert not [secret for secret in secrets if secret in output]


def test_check_names_misspelled_variables(installation: Installation) -> None:
    """They may be of other programs, so they are no failure."""
    installation.env["FORWARDER_SOURCE__CONCURENCY"] = "8"
    done = installation.run_command("check")
    (line,) = [line for line in done.out.splitlines() if "environment" in line]
    assert (done.code, line[0]) == (0, "–"), done.output
    assert "FORWARDER_SOURCE__CONCURENCY (did you mean FORWARDER_SOURCE__CONCURRENCY?)" in line


@pytest.mark.parametrize("key", ["listen", "health_listen"])
def test_address_of_another_process_exits_75(installation: Installation, key: str) -> None:
    """A service manager restarts a process that exits with 75: the address may be free again."""
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        address = f"127.0.0.1:{in_use.getsockname()[1]}"
        installation.change("web", **{key: address})
        checked = installation.run_command("check")
        assert (checked.code, lines(checked.out)["web UI"]) == (75, "✗")
        assert f"web.{key} {address} cannot be bound: Address already in use" in checked.out
        assert installation.run_command("run").code == 75
    assert installation.run_command("check").code == 0


def test_check_passes_beside_the_running_daemon(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    installation.change("web", listen=address)
    with installation.start() as daemon:
        daemon.wait_for_log("web UI listening")
        done = installation.run_command("check")
        assert daemon.stop() == 0
    assert (done.code, lines(done.out)["web UI"]) == (0, "✓"), done.output
