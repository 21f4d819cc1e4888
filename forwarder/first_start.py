"""The first start: the files that it creates, and the question whether settings may be completed on the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forwarder import atomicfile
from forwarder.errors import ForwarderError, LedgerError, SecretMissing, SettingsError, VaultError
from forwarder.ledger import is_unused, ledger_place
from forwarder.settings import ConfigSource, LocalSettings, load_local
from forwarder.settings.load import load_listeners, load_without_file
from forwarder.settings.reference import template
from forwarder.vault import Vault, master_key

SETUP_HINT = "start with `forwarder run --setup` to complete the settings in the browser"


@dataclass(frozen=True, slots=True)
class InitialFiles:
    """The settings file and the master key: those that were created, and those that existed."""

    created: Sequence[Path]
    kept: Sequence[Path]
    master_key: Path | None
    """The file of the master key, or None if the key is provided from outside."""


def create_missing_files(config_source: ConfigSource) -> InitialFiles:
    """Create the settings file and the master key if they are missing. Nothing is replaced.

    Raise SettingsError or VaultError if a file cannot be created, if an existing key cannot be used, or if a vault
    exists and its key is missing.
    """
    has_settings = atomicfile.lexists(config_source.file)
    settings: LocalSettings = load_local(config_source) if has_settings else load_without_file(config_source)
    key = _key_file(config_source, settings)
    created: list[Path] = []
    kept: list[Path] = []
    if key and any(atomicfile.lexists(each) for each in (key, master_key.new_key_file(key))):
        master_key.find_master_keys(config_source, settings)
        kept.append(key)
    elif key:
        _require_no_vault(config_source, settings, key)
        (created if _create(key, master_key.generate(), 0o600) else kept).append(key)
    is_created = not has_settings and _create(config_source.file, template(), 0o644)
    (created if is_created else kept).insert(0, config_source.file)
    return InitialFiles(created, kept, key)


def create_files_for_setup(config_source: ConfigSource) -> Sequence[Path]:
    """Create the files of a first start, and return them. A settings file that exists is kept, with all other files.

    Raise SettingsError if the settings file is missing beside a ledger or a vault: another file was meant, or it was
    lost, and its defaults would not continue what that ledger has.
    """
    if atomicfile.lexists(config_source.file):
        return ()
    if existing := _existing_state(config_source):
        raise SettingsError(
            f"there is no settings file {config_source.file}, and {' and '.join(map(str, existing))} exists",
            hint="bring the settings file back, or name it with -c; a set-up starts in a folder without them",
        )
    return create_missing_files(config_source).created


async def find_obstacle(config_source: ConfigSource, error: ForwarderError) -> ForwarderError | None:
    """Return why the settings cannot be completed on the page, or None if they can.

    `error` is the error of a start without a set-up. Only a ledger that was never used allows one: otherwise, an edit
    by mistake would stop a forwarder that worked, and it would look like a new one.
    """
    has_settings = atomicfile.lexists(config_source.file)
    is_correctable = isinstance(error, SecretMissing) or (isinstance(error, SettingsError) and error.faults)
    if has_settings and not is_correctable:
        return error
    try:
        if not has_settings:
            return error if _existing_state(config_source) else None
        settings = load_listeners(config_source)
        Vault.open(config_source, settings)
        return None if await is_unused(config_source, settings) else error
    except (SettingsError, VaultError, LedgerError) as obstacle:
        return obstacle


def _key_file(config_source: ConfigSource, settings: LocalSettings) -> Path | None:
    if master_key.is_externally_provided(config_source):
        return None
    if not settings.vault.master_key_file:
        raise VaultError(
            "vault.master_key_file is empty, and nothing else provides a master key",
            hint=f"set it, {master_key.FILE_VARIABLE} or {master_key.VARIABLE}",
        )
    return config_source.path(settings.vault.master_key_file)


def _require_no_vault(config_source: ConfigSource, settings: LocalSettings, key: Path) -> None:
    """Raise VaultError if a vault exists: no new key opens it."""
    if atomicfile.lexists(vault := config_source.path(settings.vault.file)):
        raise VaultError(
            f"the master key {key} is missing, and the vault {vault} is sealed under it",
            hint="bring the key back: without it no secret in the vault can be read again",
        )


def _create(file: Path, text: str, mode: int) -> bool:
    """Create a file. Return whether this process created it, or raise SettingsError if it cannot be created."""
    try:
        atomicfile.create(file, text.encode(), mode=mode)
    except FileExistsError:
        return False
    except OSError as error:
        hint = (
            atomicfile.write_hint(file) if file.parent.is_dir() else "create its folder, or name another file with -c"
        )
        raise SettingsError(f"{file} cannot be created: {error.strerror}", hint=hint) from None
    return True


def _existing_state(config_source: ConfigSource) -> list[Path]:
    """Return the files of the ledger and the vault that exist where a start without a settings file places them."""
    settings = load_without_file(config_source)
    files = (*ledger_place(config_source, settings).files(), config_source.path(settings.vault.file))
    return [file for file in files if atomicfile.lexists(file)]
