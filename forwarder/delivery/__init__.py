"""The delivery: it publishes pending entries to the bus, and settles them in the ledger by their outcomes."""
