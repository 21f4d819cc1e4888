"""Intake: from the logs API to what is owed."""
