"""The ledger in a SQLite file keeps the contract."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from forwarder.ledger import SqliteLedger
from tests.ledger.contract import Open
from tests.ledger.dying import DyingContract
from tests.ledger.forgetting import ForgettingContract
from tests.ledger.missing import MissingBusContract
from tests.ledger.telling import TellingContract
from tests.ledger.walk import WalkContract


class TestSqliteLedger(DyingContract, MissingBusContract, ForgettingContract, TellingContract, WalkContract):
    @contextmanager
    def place(self) -> Iterator[Open]:
        with TemporaryDirectory() as folder:
            yield lambda: SqliteLedger(Path(folder) / "ledger.db", create=True)
