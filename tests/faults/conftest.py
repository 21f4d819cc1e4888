"""A stage for each test, and the daemon on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.environment import Stage, staged
from tests.faults.installation import Daemon, faults_in


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
def running(stage: Stage) -> Iterator[Daemon]:
    with stage.home.start() as daemon:
        daemon.until(daemon.started)
        yield daemon
        assert daemon.stop() == 0
        assert not list(faults_in(daemon.log.read_text().splitlines()))
