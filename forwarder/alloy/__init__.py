"""The client of the logs API: requests, responses, and the decoding of executions."""
