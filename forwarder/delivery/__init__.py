"""Delivery: from pending entries to the bus, and their outcomes back into the ledger."""
