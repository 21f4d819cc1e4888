"""The changes of the settings form: they are validated together, then saved to the settings file and the vault."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from forwarder import atomicfile
from forwarder.errors import ForwarderError, SettingsError, VaultError
from forwarder.settings import ConfigSource, LocalSettings, Settings, load_local
from forwarder.settings.edit import locked_file, replace_values, require_replaceable
from forwarder.settings.load import read_table, validate_table
from forwarder.vault import (
    ALLOY_API_KEY,
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN,
    NAMES,
    Vault,
    locked_vault,
    vault_folder,
)
from forwarder.vault.secret_values import reject_own_token, validate_secret
from forwarder.web.formatting import capitalize_first
from forwarder.web.settings_form import FIELDS, SettingsChanges

SECRETS_BY_ADDRESS = {
    "source.base_url": (ALLOY_API_KEY,),
    "destination.endpoint_url": (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN),
}
"""The secrets that are used at the address in a setting."""

ENTER_AGAIN = "Has to be entered again, because the address that it is used at is another one"


def save_changes(config_source: ConfigSource, given: SettingsChanges, now: datetime) -> dict[str, str]:
    """Save the changes, and return no errors. If any is invalid, write nothing, and return the errors by input.

    Errors that belong to no input are under "". Raise SettingsError or VaultError if a file cannot be read or written,
    or is not valid. The caller holds the locks of `locked_files`.
    """
    local = load_local(config_source)
    vault = Vault.open(config_source, local)
    faults = _validate_secrets(vault, given) | _validate_values(config_source, given)
    if not faults:
        _write(config_source, vault, given, now)
    return faults


def _write(config_source: ConfigSource, vault: Vault, given: SettingsChanges, now: datetime) -> None:
    """Write both files, so that no crash and no reload in between finds a secret with an address of another one."""
    if given.values and (given.secrets or given.removed):
        require_replaceable(config_source)
        moved = [name for address in given.values for name in SECRETS_BY_ADDRESS.get(address, ())]
        previous = vault.remove_all(moved)
        try:
            replace_values(config_source, given.values)
        except ForwarderError:
            vault.restore(previous)
            raise
    elif given.values:
        replace_values(config_source, given.values)
    if given.secrets or given.removed:
        vault.change(given.secrets, now, removed=given.removed)


@contextmanager
def locked_files(config_source: ConfigSource) -> Iterator[None]:
    """Lock the settings file and the vault during the block. Raise SettingsError or VaultError if that fails."""
    with ExitStack() as stack:
        stack.enter_context(locked_file(config_source))
        local = load_local(config_source)
        if not _are_together(config_source, local):  # a second lock of one folder would wait for the first
            stack.enter_context(locked_vault(config_source, local))
        yield


def _are_together(config_source: ConfigSource, local: LocalSettings) -> bool:
    folder = vault_folder(config_source, local)
    return folder.exists() and folder.samefile(atomicfile.resolve_links(config_source.file).parent)


def candidate_table(config_source: ConfigSource, given: SettingsChanges) -> dict[str, Any]:
    """Return the content of the settings file with these changes. Raise SettingsError if it cannot be read."""
    table = read_table(config_source.file)
    for name, value in given.values.items():
        section, _, key = name.partition(".")
        if not isinstance(table.setdefault(section, {}), dict):
            raise SettingsError(f"{section} in {config_source.file} is not a section")
        table[section][key] = value
    return table


def candidate_settings(config_source: ConfigSource, given: SettingsChanges) -> Settings:
    """Return the settings of the file with these changes. Raise SettingsError, with its faults, if they are invalid."""
    return validate_table(config_source, candidate_table(config_source, given))


def secrets_to_enter_again(vault: Vault, given: SettingsChanges) -> tuple[str, ...]:
    """Return the names of stored secrets that a changed address needs, and that are not in the form.

    A stored secret is never sent to an address that comes from the form: a session alone must not reveal it.
    """
    return tuple(
        name
        for address, names in SECRETS_BY_ADDRESS.items()
        if address in given.values
        for name in names
        if vault.set_at(name) is not None and name not in given.secrets and name not in given.removed
    )


def _validate_values(config_source: ConfigSource, given: SettingsChanges) -> dict[str, str]:
    try:
        candidate_settings(config_source, given)
    except SettingsError as error:
        if not error.faults:
            raise
        return field_errors(error)
    return {}


def field_errors(error: SettingsError) -> dict[str, str]:
    """Return a message for each input with a fault. Faults of settings that are not on the page are under ""."""
    known = {each.name for each in FIELDS}
    faults = {
        name: capitalize_first(message.removeprefix(name).lstrip(": "))
        for name, message in error.faults.items()
        if name in known
    }
    if others := [message for name, message in error.faults.items() if name not in known]:
        faults[""] = capitalize_first("; ".join(others))
    return faults


def _validate_secrets(vault: Vault, given: SettingsChanges) -> dict[str, str]:
    faults = dict.fromkeys(secrets_to_enter_again(vault, given), ENTER_AGAIN)
    for name, value in given.secrets.items():
        try:
            validate_secret(name, value)
            reject_own_token(name, value, vault.digests())
        except VaultError as error:
            faults[name] = capitalize_first(error.message.removeprefix(name).strip())
    set_names = {name for name in NAMES if vault.set_at(name) is not None}
    set_names = (set_names | set(given.secrets)) - set(given.removed)
    if set_names & {AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN}:
        for name in (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY):
            if name not in set_names:
                faults.setdefault(name, "Is missing: an AWS key has both parts, or none of them is stored")
    return faults
