"""The checks of this machine: the settings, the vault and the ledger."""

from dataclasses import replace

from forwarder import atomicfile
from forwarder.aws.credentials import StoredKeys
from forwarder.diagnostics.results import CheckResult, run_check
from forwarder.errors import AuditDenied, AuditInterrupted, SettingsError, VaultError
from forwarder.ledger import Counters, ledger_place
from forwarder.settings import ConfigSource, Settings
from forwarder.settings.load import unknown_variables
from forwarder.settings.models import LocalSettings
from forwarder.settings.suggestions import suggest_for_variable
from forwarder.vault import Vault

SETTINGS, ENVIRONMENT, VAULT, COUNTERS = "settings", "environment", "vault", "counters"
"""The names of the checks."""


def check_settings(config_source: ConfigSource, settings: Settings) -> str:
    """Return a message. Raise SettingsError if the file is not the one that the person edits."""
    if atomicfile.is_stale_mount(config_source.file):
        message = f"{config_source.file} was replaced outside of this container: this is its old content"
        raise SettingsError(message, hint=atomicfile.STALE_MOUNT_HINT)
    return f"{config_source.file}, switched {'on' if settings.enabled else 'off'}"


def check_environment(config_source: ConfigSource) -> CheckResult | None:
    """Return a skipped check that names the unknown variables, which a run ignores, or None if there are none."""
    unknown = [
        f"{name} ({suggestion})" if (suggestion := suggest_for_variable(name)) else name
        for name in unknown_variables(config_source)
    ]
    message = f"unknown variables, which are ignored: {', '.join(unknown)}"
    return CheckResult(ENVIRONMENT, message, skipped=True) if unknown else None


def check_vault(config_source: ConfigSource, settings: LocalSettings) -> str:
    """Return a message.

    Raise VaultError if the vault does not exist, cannot be opened, is incomplete or is open to others.
    """
    vault = Vault.open(config_source, settings)
    vault.require_file()
    StoredKeys.of(vault)
    if warnings := vault.warnings():
        raise VaultError("; ".join(warnings), hint="chmod 600")
    return f"{vault.file}, opened with {vault.key.origin}"


async def check_counters(config_source: ConfigSource, settings: LocalSettings) -> CheckResult:
    """Compare the counters with the ledger. It fails if a run could not use the ledger, or if it is damaged.

    It is skipped if the keys may not read all items of a table: a run does not need this right.
    """
    obstacle: AuditDenied | AuditInterrupted | None = None

    async def audit() -> str:
        nonlocal obstacle
        place = ledger_place(config_source, settings)
        place.check()
        if not place.exists():
            return "no ledger yet: the first run creates it"
        async with place.open() as ledger:
            counted = await ledger.counters()
            try:
                return f"balanced: {_sentence(await ledger.audit())}"
            except (AuditDenied, AuditInterrupted) as error:
                obstacle = error
        reason = f"{obstacle.message}; {obstacle.hint}"
        return f"not proved, because the items cannot be counted: {_sentence(counted)}; {reason}"

    return replace(await run_check(COUNTERS, audit), skipped=obstacle is not None)


def _sentence(counters: Counters) -> str:
    return f"{counters.recorded} recorded, {counters.pending} pending, {counters.sent} sent, {counters.dead} dead"
