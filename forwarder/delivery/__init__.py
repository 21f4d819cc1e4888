"""Delivery: publishing pending entries to the bus, and settling them in the ledger by their outcomes."""
