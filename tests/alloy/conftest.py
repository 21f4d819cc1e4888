from collections.abc import Iterator
from datetime import timedelta

import pytest

from forwarder.demo.sample_data import execution
from tests.fakes.alloy import FakeAlloy
from tests.virtual_clock import NOON


@pytest.fixture
def alloy() -> Iterator[FakeAlloy]:
    with FakeAlloy(now=lambda: NOON) as alloy:
        for number in range(5):
            alloy.api.add("w", execution("failed-status", id=f"{number}", started=NOON + timedelta(seconds=number)))
        yield alloy
