"""The checks of a connection before it is saved: they use the values of a form, and save nothing.

Each part is checked with what it needs: the logs API is checked while the event bus is not chosen yet.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import SecretStr

from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.diagnostics import CheckResult, Proof, check_destination, check_source, prove_arrival
from forwarder.diagnostics.destination import IDENTITY, PUBLISHING
from forwarder.diagnostics.source import LOGS_API
from forwarder.errors import ForwarderError, SettingsError, VaultError
from forwarder.settings import LocalSettings, load_local
from forwarder.settings.load import load_sections
from forwarder.settings.models import AlloySettings, AwsSettings
from forwarder.vault import ALLOY_API_KEY, Vault
from forwarder.vault.secret_values import reject_own_token, validate_secret
from forwarder.web.context import WebContext
from forwarder.web.settings_changes import candidate_settings, candidate_table, secrets_to_enter_again
from forwarder.web.settings_form import SECRETS, SettingsChanges

SETTINGS, TEST_EVENT = "settings", "test event"

S = TypeVar("S", bound=LocalSettings)

_LABELS = {each.name: each.label for each in SECRETS}


@dataclass(frozen=True, slots=True)
class ChangedVault:
    """The vault with the changes of a form."""

    vault: Vault
    given: SettingsChanges

    def reveal(self, name: str) -> SecretStr | None:
        """Return a secret of the form, else of the vault, or None if it is removed or not set.

        Raise VaultError if the value in the form is not a valid secret, or if the form changes the address at which a
        stored secret is used.
        """
        if name in self.given.secrets:
            validate_secret(name, self.given.secrets[name])
            reject_own_token(name, self.given.secrets[name], self.vault.digests())  # it must not be sent to anybody
            return SecretStr(self.given.secrets[name])
        if name in secrets_to_enter_again(self.vault, self.given):
            raise VaultError(
                f"“{_LABELS[name]}” has to be entered again: a stored secret is not sent to another address",
                hint=f"`{name}`",
            )
        return None if name in self.given.removed else self.vault.reveal(name)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The settings and secrets that would be in force after a save of a form, as far as they are valid."""

    secrets: ChangedVault
    alloy: AlloySettings | SettingsError
    aws: AwsSettings | SettingsError
    settings_error: SettingsError | None

    def alloy_connection(self) -> tuple[AlloySettings, SecretStr | None]:
        """Return the settings and the key of the logs API. Raise SettingsError or VaultError if one is invalid."""
        if isinstance(self.alloy, SettingsError):
            raise self.alloy
        return self.alloy, self.secrets.reveal(ALLOY_API_KEY)

    def aws_connection(self) -> tuple[AwsSettings, Identity]:
        """Return the settings and the identity of AWS. Raise SettingsError or VaultError if one is invalid."""
        if isinstance(self.aws, SettingsError):
            raise self.aws
        return self.aws, Identity(self.aws.destination, StoredKeys.of(self.secrets))


def build_candidate(context: WebContext, given: SettingsChanges) -> Candidate:
    """Return what these changes would lead to.

    This reads the settings file and the vault. Raise SettingsError or VaultError if one of them cannot be read.
    """
    config_source = context.config_source
    table = candidate_table(config_source, given)
    vault = Vault.open(config_source, load_local(config_source))
    settings_error: SettingsError | None = None
    try:
        candidate_settings(config_source, given)
    except SettingsError as error:
        settings_error = error
    alloy, aws = _valid_or_error(AlloySettings, context, table), _valid_or_error(AwsSettings, context, table)
    return Candidate(ChangedVault(vault, given), alloy, aws, settings_error)


def _valid_or_error(model: type[S], context: WebContext, table: dict[str, Any]) -> S | SettingsError:
    try:
        return load_sections(model, context.config_source, table)
    except SettingsError as error:
        return error


async def check_connection(context: WebContext, given: SettingsChanges) -> AsyncIterator[CheckResult]:
    """Yield the checks of the settings, of the logs API and of AWS. Nothing is published."""
    try:
        candidate = await asyncio.to_thread(build_candidate, context, given)
    except ForwarderError as error:
        yield CheckResult(SETTINGS, error=error)
        return
    valid = candidate.settings_error is None
    yield CheckResult(SETTINGS, "valid" if valid else "", candidate.settings_error)
    try:
        alloy, key = candidate.alloy_connection()
    except ForwarderError as error:
        yield _impossible(LOGS_API, error)
    else:
        async for result in check_source(alloy, key, context.clock):
            yield result
    try:
        _, identity = candidate.aws_connection()
    except ForwarderError as error:
        yield _impossible(IDENTITY, error)
        return
    async for result in check_destination(identity, context.clock):
        yield result


async def send_test_event(context: WebContext, given: SettingsChanges) -> AsyncIterator[CheckResult]:
    """Publish a test event, and yield its result, and that of its arrival in the canary queue.

    The arrival is skipped with an error if the queue cannot be read, and is not yielded if no event was accepted.
    """
    try:
        candidate = await asyncio.to_thread(build_candidate, context, given)
        aws, identity = candidate.aws_connection()
    except ForwarderError as error:
        yield CheckResult(TEST_EVENT, error=error)
        return
    async for result in prove_arrival(identity, aws.event.source, context.clock, Proof()):
        if result.name == PUBLISHING:
            yield replace(result, name=TEST_EVENT)
        elif result.error is not None or not result.skipped:
            yield result


def _impossible(name: str, error: ForwarderError) -> CheckResult:
    """Return the result of a check whose settings or secrets are invalid. The settings' own check names the former."""
    if isinstance(error, SettingsError):
        return CheckResult(name, "not tried, because its settings are not complete", skipped=True)
    return CheckResult(name, error=error)
