"""`status` on a shared ledger: the processes, their feeds and heartbeats, and the switch of all of them."""

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import fail, publishing, sent
from tests.e2e.test_status import other_server
from tests.e2e.web_client import http_request, log_in, metric, web_address
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import entry_codes
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.dynalite import new_ledger_url
from tests.harness.installation import Installation
from tests.harness.ports import free_port

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def shared(installation: Installation) -> Installation:
    # A process that stands still for five intervals is taken over.
    installation.change("ledger", url=new_ledger_url(), heartbeat_interval="1s")
    return installation


def test_status_lists_the_processes(shared: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    with shared.start() as first, shared.start() as second:
        first.wait_until(lambda: sent(bus) == ["a"])
        second.wait_for_log("fleet changed")
        # A feed is counted by the heartbeat after the first poll.
        first.wait_until(lambda: sum(each["feeds"] for each in members(shared)) == 1)
        report = shared.run_command("status", "--json").json()
        text = shared.run_command("status").out
        assert first.stop() == second.stop() == 0
    name = shared.settings["ledger"]["url"].removeprefix("dynamodb://").partition("?")[0]
    assert (report["ledger"], report["fleet_enabled"]) == (f"the table {name} in eu-west-1", True)
    assert (report["enabled"], report["running"], report["attention"]) == (True, True, [])
    for member in report["members"]:
        assert (member["host"], member["running"]) == (socket.gethostname(), True)
        assert abs((datetime.now(UTC) - datetime.fromisoformat(member["heartbeat_at"])).total_seconds()) < 30
        assert member["read_units"] > 0 < member["write_units"]
        assert any(line.split()[:2] == [member["host"], member["id"]] for line in text.splitlines())
    assert len({member["id"] for member in report["members"]}) == 2
    assert text.startswith(f"switched on, 2 processes running on the table {name} in eu-west-1\n")
    assert "host" in text
    assert "read units  write units" in text


def members(installation: Installation) -> list[dict[str, Any]]:
    return list(installation.run_command("status", "--json").json()["members"])


def test_failure_of_one_process_is_visible_from_every_machine(
    shared: Installation, tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The bus in the settings of one process does not exist. The status of the others is healthy."""
    (tmp_path / "sick").mkdir()
    settings = {"destination": {"event_bus": "missing"}, "ledger": shared.settings["ledger"]}
    sick = Installation(tmp_path / "sick", alloy=alloy.url, bus=bus.url, **settings)
    sick.create_vault()
    shared.change("web", listen=f"127.0.0.1:{free_port()}")
    token = shared.run_command("web", "create-token").out.strip()
    with shared.start() as first, sick.start() as second:
        first.wait_until(lambda: "bus" in problems(shared))
        first.wait_until(lambda: all(each["components"].get("source") for each in members(shared)))
        first.wait_until(lambda: problems(shared).keys() == {"bus"})
        report = shared.run_command("status", "--json").json()
        check = shared.run_command("status", "--check")
        page = web_address(first)
        _, text = http_request(page, headers={"Cookie": log_in(page, token)})
        assert first.stop() == second.stop() == 0
    (member,) = [each for each in report["members"] if each["components"]["bus"]["state"] == "FAILED"]
    name = f"{member['host']}/{member['id']}"
    failed = report["components"]["bus"]
    assert failed == {**member["components"]["bus"], "members": [name]}
    assert "missing" in failed["reason"]
    assert len(report["components"]["source"]["members"]) == 2
    assert report["attention"] == [f"bus is FAILED ({name})"]
    assert check.code == 1
    assert f"bus       FAILED       {failed['reason']} ({name})\n" in check.out
    assert check.out.count("HEALTHY") == check.out.count("HEALTHY\n") > 0
    assert f'<p class="small muted">on {name}</p>' in text
    assert "needs attention</h1>" in text


def test_process_here_that_has_not_joined_is_displayed(
    shared: Installation, tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """It saves no status for the others, and its listener has its states."""
    (tmp_path / "off").mkdir()
    sections = {"ledger": shared.settings["ledger"], "web": {"health_listen": f"127.0.0.1:{free_port()}"}}
    off = Installation(tmp_path / "off", alloy=alloy.url, bus=bus.url, **sections)
    off.create_vault()
    off.change(enabled=False)
    with shared.start() as first, off.start() as second:
        first.wait_until(lambda: members(shared))
        second.wait_for_log("PAUSED")
        first.wait_until(lambda: not problems(shared))
        first.wait_until(lambda: problems(off) == {"source": "PAUSED", "bus": "PAUSED"})
        done = off.run_command("status", "--check")
        assert first.stop() == second.stop() == 0
    assert f"source    PAUSED       ({socket.gethostname()}/not joined)\n" in done.out
    assert done.code == 0, done.output


def problems(installation: Installation) -> dict[str, str]:
    """Return the states of the components that are not healthy."""
    components = installation.run_command("status", "--json").json()["components"]
    return {name: each["state"] for name, each in components.items() if each["state"] != "HEALTHY"}


def test_status_of_a_fleet_that_is_switched_off(shared: Installation) -> None:
    with shared.start() as daemon:
        daemon.wait_for_log("started")
        daemon.wait_until(lambda: members(shared))
        shared.run_command("disable", "--fleet")
        daemon.wait_until(lambda: not members(shared))
        done = shared.run_command("status", "--check")
        assert daemon.stop() == 0
    assert done.code == 0, done.output
    assert done.out.startswith("switched off for all processes, no process running on the table ")
    assert shared.run_command("status", "--json").json()["fleet_enabled"] is False


def test_metrics_of_a_fleet_that_is_switched_off_are_disabled(shared: Installation) -> None:
    """No poll succeeds then, which must not page."""
    shared.change("web", health_listen=f"127.0.0.1:{free_port()}")
    page = "http://" + shared.settings["web"]["health_listen"]
    with shared.start() as daemon:
        daemon.wait_until(daemon.has_started)
        daemon.wait_until(lambda: metric(page, "enabled") == metric(page, "fleet_members") == 1)
        shared.run_command("disable", "--fleet")
        daemon.wait_until(lambda: metric(page, "enabled") == 0)
        assert daemon.stop() == 0


def test_status_of_a_process_that_is_switched_off(shared: Installation) -> None:
    with shared.start() as daemon:
        daemon.wait_until(lambda: members(shared))
        shared.change(enabled=False)
        text = shared.run_command("status").out
        assert daemon.stop() == 0
    assert text.startswith("switched off in the settings on this machine, ")


def test_status_of_a_fleet_that_stopped_needs_attention(shared: Installation) -> None:
    with shared.start() as daemon:
        daemon.wait_until(lambda: members(shared))
        assert daemon.stop() == 0
    done = shared.run_command("status", "--check")
    assert done.code == 1
    assert "the forwarder is switched on and not running" in done.out


def test_status_has_values_of_the_listener_on_this_machine(shared: Installation) -> None:
    """The saved status may be that of another process."""
    shared.change("web", health_listen=f"127.0.0.1:{free_port()}")
    with shared.start() as daemon:
        daemon.wait_until(lambda: shared.run_command("status", "--json").json()["live"])
        report = shared.run_command("status", "--json").json()
        assert (report["pid"], report["live"]) == (daemon.pid, True)
        shared.change("web", health_listen=f"127.0.0.1:{free_port()}")  # takes effect at the next start
        assert "no healthy response from the listener here" in shared.run_command("status").out
        assert daemon.stop() == 0


def test_page_and_metrics_show_the_processes(shared: Installation) -> None:
    shared.change("web", listen=f"127.0.0.1:{free_port()}")
    token = shared.run_command("web", "create-token").out.strip()
    with shared.start() as daemon:
        page = web_address(daemon)
        daemon.wait_until(lambda: metric(page, "fleet_members") == 1)
        daemon.wait_until(lambda: metric(page, 'ledger_consumed_units_total{kind="write"}') > 0)
        daemon.wait_until(lambda: metric(page, 'ledger_consumed_units_total{kind="read"}') > 0)
        (member,) = members(shared)
        _, text = http_request(page, headers={"Cookie": log_in(page, token)})
        assert daemon.stop() == 0
    section = text.partition('<h2 id="processes">Processes</h2>')[2]
    assert f'<th scope="row">{socket.gethostname()}</th>' in section
    assert f'{member["id"]} <span class="muted">this one</span>' in section


def test_metrics_of_an_idle_process_show_nothing_to_do(
    shared: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """One process polls the only workflow, and one has to send its event. No alarm may page for the other one."""
    bus.always(publishing(entry_codes({0: "ThrottlingException"})))
    ports = [free_port(), free_port()]
    shared.change("web", health_listen=f"127.0.0.1:{ports[0]}")
    with shared.start() as first:
        first.wait_until(first.has_started)
        shared.change("web", health_listen=f"127.0.0.1:{ports[1]}")
        with shared.start() as second:
            second.wait_for_log("fleet changed")
            fail(alloy, "a")
            pages = [f"http://127.0.0.1:{port}" for port in ports]
            first.wait_until(lambda: all(metric(page, "events_pending") == 1 for page in pages))
            for process in ("own", "other"):
                assert sorted(metric(page, f'feeds{{process="{process}"}}') for page in pages) == [0, 1]
            # The one that has the feed now may not be the one that recorded the failure.
            ages = [metric(page, "oldest_pending_event_age_seconds") for page in pages]
            assert min(ages) == 0 < max(ages)
            assert first.stop() == second.stop() == 0


def test_status_of_a_ledger_in_a_file_names_no_processes(installation: Installation) -> None:
    installation.run_command("once")
    report = installation.run_command("status", "--json").json()
    assert not {"ledger", "members", "fleet_enabled"} & report.keys()
    assert "read units" not in installation.run_command("status").out


@pytest.mark.parametrize("part", ['"components": ["bus"]', '"components": {}, "last_poll_at": "soon"'])
def test_status_ignores_another_program_with_a_process_id(shared: Installation, part: str) -> None:
    with shared.start() as daemon, other_server(f'{{"live": true, "ready": true, "pid": 1, {part}}}'.encode()) as port:
        daemon.wait_until(lambda: members(shared))
        shared.change("web", listen=f"127.0.0.1:{port}")  # takes effect at the next start
        done = shared.run_command("status", "--json")
        assert (done.code, done.err) == (0, "")
        assert daemon.stop() == 0
