"""The fixtures of the fault tests: an environment, and a running daemon in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.environment import Environment, start_environment
from tests.faults.log_faults import faults_in
from tests.harness.process import ForwarderProcess


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    with start_environment(tmp_path) as environment:
        yield environment


@pytest.fixture
def running(environment: Environment) -> Iterator[ForwarderProcess]:
    with environment.installation.start() as daemon:
        daemon.wait_until(daemon.has_started)
        yield daemon
        assert daemon.stop() == 0
        assert not list(faults_in(daemon.log.splitlines()))
