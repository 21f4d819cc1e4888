"""The checks of this machine: the settings, the vault and the ledger."""

from forwarder import atomicfile
from forwarder.aws.credentials import StoredKeys
from forwarder.errors import SettingsError, VaultError
from forwarder.ledger import ledger_file, open_ledger, require_folder, require_ledger, require_writable
from forwarder.settings import ConfigSource, Settings
from forwarder.settings.models import LocalSettings
from forwarder.vault import Vault

SETTINGS, VAULT, COUNTERS = "settings", "vault", "counters"
"""The names of the checks."""


def check_settings(config_source: ConfigSource, settings: Settings) -> str:
    """Return a message. Raise SettingsError if the file is not the one that the person edits."""
    if atomicfile.is_stale_mount(config_source.file):
        message = f"{config_source.file} was replaced outside of this container: this is its old content"
        raise SettingsError(message, hint=atomicfile.STALE_MOUNT_HINT)
    return f"{config_source.file}, switched {'on' if settings.enabled else 'off'}"


def check_vault(config_source: ConfigSource, settings: LocalSettings) -> str:
    """Return a message. Raise VaultError if the vault cannot be opened, is incomplete or is open to others."""
    vault = Vault.open(config_source, settings)
    StoredKeys.of(vault)
    if warnings := vault.warnings():
        raise VaultError("; ".join(warnings), hint="chmod 600")
    return f"{vault.file}, opened with {vault.key.origin}"


async def check_counters(config_source: ConfigSource, settings: LocalSettings) -> str:
    """Return a message. Raise SettingsError or LedgerError if a run could not use the ledger, or it is damaged."""
    file = ledger_file(config_source, settings)
    require_folder(file)
    require_ledger(file)
    require_writable(file)
    if not file.exists():
        return "no ledger yet: the first run creates it"
    async with open_ledger(config_source, settings) as ledger:
        counters = await ledger.audit()
    states = f"{counters.pending} pending, {counters.sent} sent, {counters.dead} dead"
    return f"balanced: {counters.recorded} recorded, {states}"
