"""The ledger in a SQLite file, for one machine. Each base class implements the operations of one use case."""

from forwarder.ledger.sqlite.claims import ClaimStore
from forwarder.ledger.sqlite.counters import CounterStore
from forwarder.ledger.sqlite.dead_letters import DeadLetterStore
from forwarder.ledger.sqlite.entries import EntryStore
from forwarder.ledger.sqlite.feeds import FeedStore
from forwarder.ledger.sqlite.pages import PageStore
from forwarder.ledger.sqlite.queries import QueryStore
from forwarder.ledger.sqlite.replay import ReplayStore
from forwarder.ledger.sqlite.requeue import RequeueStore
from forwarder.ledger.sqlite.retention import RetentionStore

__all__ = ["SqliteLedger"]


class SqliteLedger(
    FeedStore,
    EntryStore,
    ClaimStore,  # with SettlementStore, since an entry that cannot be read is settled as dead
    RequeueStore,
    DeadLetterStore,
    ReplayStore,
    RetentionStore,
    QueryStore,
    PageStore,
    CounterStore,
):
    """The ledger in a SQLite file. It implements the protocol `Ledger`."""
