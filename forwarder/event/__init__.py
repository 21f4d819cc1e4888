"""The event: its size, its limits and its schema, for those who make it and those who send it."""
