"""Recovery of a damaged SQLite ledger. Nothing here runs while a forwarder uses the file."""

from forwarder.ledger.repair.recover import RecoveryResult, recover

__all__ = ["RecoveryResult", "recover"]
