"""The two fakes and a forwarder between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import CLIENT, Home
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, StrictEventBridge


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


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with the keys of both fakes, made by the real commands once: each test takes a copy."""
    place = tmp_path_factory.mktemp("sealed")
    maker = Home(place, alloy="http://127.0.0.1:9", bus="http://127.0.0.1:9")
    maker.file.unlink()
    assert maker("init").code == 0
    secrets = {"alloy-api-key": API_KEY, "aws-access-key-id": KEY.id, "aws-secret-access-key": KEY.secret}
    for name, secret in secrets.items():
        done = maker("keys", "set", name, stdin=secret + "\n")
        assert done.code == 0, done.output
    return place


@pytest.fixture
def home(tmp_path: Path, sealed: Path, alloy: FakeAlloy, bus: StrictEventBridge) -> Home:
    home = Home(tmp_path, alloy=alloy.url, bus=bus.url)
    home.copy_keys(sealed)
    return home
