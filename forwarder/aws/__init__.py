"""The AWS side: credentials, the event bus, and the classification of its responses."""
