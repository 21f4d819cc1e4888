"""Sealed secrets and the master key that opens them."""

from forwarder.vault.lock import locked_vault, vault_folder
from forwarder.vault.secret_values import (
    ALLOY_API_KEY,
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN,
    DIGESTS,
    NAMES,
    WEB_TOKEN,
    WEBHOOK_TOKEN,
    missing_secret_error,
)
from forwarder.vault.store import Vault

__all__ = [
    "ALLOY_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "DIGESTS",
    "NAMES",
    "WEBHOOK_TOKEN",
    "WEB_TOKEN",
    "Vault",
    "locked_vault",
    "missing_secret_error",
    "vault_folder",
]
