"""A fleet that is disrupted loses nothing. `make soak-fleet` runs it at any length."""

from pathlib import Path

import pytest

from tests.faults.soak_fleet import soak

pytestmark = [pytest.mark.dynamodb, pytest.mark.long]


def test_fleet_that_is_disrupted_loses_nothing(tmp_path: Path) -> None:
    result = soak(1, workflows=40, failures=500, directory=tmp_path)
    assert not result.problems, str(result)
    assert result.disruptions.total() > 0
