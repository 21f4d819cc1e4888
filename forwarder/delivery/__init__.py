"""Delivery: from what is owed to the bus, and back into the books."""
