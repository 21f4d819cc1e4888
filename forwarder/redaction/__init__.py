"""The redaction of secrets and client addresses, by name and by shape.

Redaction happens once, before anything is written to disk. The ledger therefore holds only data that may be published
and displayed.
"""

from forwarder.redaction.redactor import MAX_DEPTH, Redactor, sanitize
from forwarder.redaction.values import REDACTED

__all__ = ["MAX_DEPTH", "REDACTED", "Redactor", "sanitize"]
