"""The two fakes and a forwarder between them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.harness import fail
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.fork_server import use_fork_server
from tests.harness.installation import CLIENT, SECRETS, Installation


@pytest.fixture(params=["direct", pytest.param("sdk", marks=pytest.mark.long)])
def either_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test with each client of the bus. The run with the client that is not the default is a long test."""
    monkeypatch.setenv(CLIENT, request.param)
    if request.param == "sdk":
        use_fork_server(monkeypatch)


@pytest.fixture
def alloy() -> Iterator[FakeAlloy]:
    with FakeAlloy() as alloy:
        alloy.api.add_workflow("w")
        yield alloy


@pytest.fixture
def bus() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bus:
        yield bus


@pytest.fixture
def vault_secrets() -> Mapping[str, str]:
    return SECRETS


@pytest.fixture
def installation(
    tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge, vault_secrets: Mapping[str, str]
) -> Installation:
    installation = Installation(tmp_path, alloy=alloy.url, bus=bus.url)
    installation.create_vault(vault_secrets)
    return installation


@pytest.fixture(scope="session")
def _five_event_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a ledger that has sent five events of two workflows."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("five-events"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        fail(alloy, "five-hours", ago=5 * 3600)
        fail(alloy, "three-hours", ago=3 * 3600)
        fail(alloy, "now-1", "now-2", ago=60)
        fail(alloy, "of-v", workflow="v", ago=60)
        installation.change("source", workflows=["w", "v"])
        assert installation.run_command("once").code == 0
        return installation.directory


@pytest.fixture
def five_sent_events(installation: Installation, _five_event_ledger: Path) -> None:
    """Start the test with a ledger that has sent five events: four of the workflow `w` and one of `v`."""
    for path in _five_event_ledger.glob("forwarder.db*"):
        shutil.copy2(path, installation.directory)
    installation.change("source", workflows=["w", "v"])
