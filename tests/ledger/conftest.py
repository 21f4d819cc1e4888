import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    "tests.ledger.contract",
    "tests.ledger.copied_ledger",
    "tests.ledger.discoverers",
    "tests.ledger.fleet_table",
    "tests.ledger.retention",
    "tests.ledger.queries",
    "tests.ledger.random_operations",
)

from forwarder.ledger.copy import LedgerCopy  # noqa: E402  # as below
from forwarder.ledger.sqlite import export  # noqa: E402  # as below
from tests.ledger.copied_ledger import BATCH_ROWS, copy_of, filled_ledger  # noqa: E402  # after its registration
from tests.ledger.fleet_table import SharedTable, shared_table  # noqa: E402  # after its registration


@pytest.fixture
async def table() -> AsyncIterator[SharedTable]:
    """Return a new table on dynalite, for the tests of several processes."""
    async with shared_table() as table:
        yield table


@pytest.fixture(scope="session")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_ledger(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def ledger_file(tmp_path: Path, filled_file: Path) -> Path:
    """Return a ledger with executions in every state, which a test may change."""
    return Path(shutil.copy2(filled_file, tmp_path))


@pytest.fixture
def copy(ledger_file: Path, monkeypatch: pytest.MonkeyPatch) -> LedgerCopy:
    """Return a copy in small batches into a new table, which is not begun."""
    monkeypatch.setattr(export, "BATCH_ROWS", BATCH_ROWS)
    return copy_of(ledger_file)
