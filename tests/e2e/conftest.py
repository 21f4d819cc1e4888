"""The two fakes and a forwarder between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import CLIENT, SECRETS, Installation


@pytest.fixture(params=["direct", pytest.param("sdk", marks=pytest.mark.long)])
def either_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs with either client of the bus: with the one that is not the default, in the long run."""
    monkeypatch.setenv(CLIENT, request.param)


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
