"""Taking secrets and client addresses out of what is recorded, by name and by shape.

It happens before anything is written to disk, and again nowhere: what is in the ledger is fit to be sent and shown.
"""

from forwarder.redaction.redactor import MAX_DEPTH, Redactor, sanitize
from forwarder.redaction.values import REDACTED

__all__ = ["MAX_DEPTH", "REDACTED", "Redactor", "sanitize"]
