"""The fakes and the home of the end-to-end tests: a report is tried on the real program."""

from tests.e2e.conftest import alloy, bus, either_client, installation, vault_secrets
from tests.faults.conftest import environment

__all__ = ["alloy", "bus", "either_client", "environment", "installation", "vault_secrets"]
