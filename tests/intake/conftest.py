from collections.abc import Iterator

import pytest

from tests.fakes.alloy import FakeAlloy
from tests.intake.reader_harness import WORKFLOW, api_now


@pytest.fixture
def alloy() -> Iterator[FakeAlloy]:
    with FakeAlloy(now=api_now) as alloy:
        alloy.api.add_workflow(WORKFLOW)
        yield alloy
