"""The fakes and the home of the end-to-end tests: a report is tried on the real program."""

from tests.e2e.conftest import alloy, bus, either_client, home, sealed
from tests.faults.conftest import stage

__all__ = ["alloy", "bus", "either_client", "home", "sealed", "stage"]
