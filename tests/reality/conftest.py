"""The fakes and the installation of the end-to-end tests: a report is tried on the real program.

The tests that start processes are marked `long`: they use more than a third of the processor time of the whole suite.
"""

from pathlib import Path

import pytest

from tests.e2e.conftest import alloy, bus, either_client, installation, vault_secrets
from tests.faults.conftest import environment

__all__ = ["alloy", "bus", "either_client", "environment", "installation", "vault_secrets"]

FOLDER = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before the hook that leaves out what is long
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and FOLDER in item.path.parents and starts_processes(item):
            item.add_marker(pytest.mark.long)


def starts_processes(item: pytest.Function) -> bool:
    return not {"installation", "environment"}.isdisjoint(item.fixturenames)
