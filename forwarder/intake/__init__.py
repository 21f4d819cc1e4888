"""The intake: from the logs API to pending entries."""
