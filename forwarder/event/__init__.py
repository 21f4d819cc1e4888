"""The event: its failed blocks, its size and its schema."""
