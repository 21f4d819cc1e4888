from collections.abc import Iterator

import pytest

from tests.fakes.eventbridge import StrictEventBridge


@pytest.fixture
def bridge() -> Iterator[StrictEventBridge]:
    with StrictEventBridge() as bridge:
        yield bridge
