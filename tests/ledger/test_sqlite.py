"""The SQLite store fulfils the contract."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from forwarder.ledger import SqliteLedger
from tests.ledger.contract import OpenLedger
from tests.ledger.dead_letters import DeadLetterContract
from tests.ledger.missing_bus import MissingBusContract
from tests.ledger.pages import PageContract
from tests.ledger.queries import QueryContract
from tests.ledger.random_operations import RandomOperationsContract
from tests.ledger.retention import ForgettingContract, RetentionContract


class TestSqliteLedger(
    DeadLetterContract,
    MissingBusContract,
    RetentionContract,
    ForgettingContract,
    QueryContract,
    PageContract,
    RandomOperationsContract,
):
    @contextmanager
    def opener(self) -> Iterator[OpenLedger]:
        with TemporaryDirectory() as folder:
            yield lambda: SqliteLedger(Path(folder) / "ledger.db", create=True)
