"""The ledger in a DynamoDB table, which several forwarders share. Each base class implements one use case.

Conditional writes make it correct, even if a process that was taken over continues. Heartbeats prevent double work.
`schema.py` has the items.
"""

from forwarder.ledger.dynamodb.queries import QueryStore

__all__ = ["DynamoLedger"]


class DynamoLedger(QueryStore):
    """The ledger in a DynamoDB table. It implements the protocol `Ledger`."""
