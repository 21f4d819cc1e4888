"""The configuration of a running process: its settings, and the secrets that they need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import structlog
from pydantic import SecretStr

from forwarder.aws.credentials import StoredKeys
from forwarder.errors import ForwarderError, SecretMissing, SettingsError
from forwarder.intake.source_health import NO_WORKFLOWS, NO_WORKFLOWS_HINT
from forwarder.settings import ConfigSource, Settings, load
from forwarder.settings.partial import load_partial
from forwarder.vault import ALLOY_API_KEY, Vault

logger = structlog.get_logger("app")


@dataclass(frozen=True, slots=True)
class MissingParts:
    """The settings and secrets that are missing or invalid. `hint` says how to correct each."""

    reason: str
    hint: str

    @classmethod
    def of(cls, problems: Sequence[ForwarderError]) -> Self:
        return cls("; ".join(problem.message for problem in problems), "; ".join(problem.hint for problem in problems))


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """The settings and the secrets that they need.

    A disabled configuration has no secrets. An incomplete one names what is missing, and forwards nothing.
    """

    settings: Settings
    alloy_key: SecretStr | None = None
    stored_keys: StoredKeys | None = None
    missing: MissingParts | None = None

    @classmethod
    def of(cls, config_source: ConfigSource, settings: Settings) -> Self:
        """Read the secrets for these settings. Raise VaultError if they cannot be read or are incomplete."""
        if not settings.enabled:
            return cls(settings)
        vault = Vault.open(config_source, settings)
        for warning in vault.warnings():
            logger.warning("file permissions too open", reason=warning, hint="chmod 600")
        return cls(settings, vault.require(ALLOY_API_KEY), StoredKeys.of(vault))

    @classmethod
    def incomplete(cls, config_source: ConfigSource) -> Self | None:
        """Return the configuration of a first start, or None if nothing is missing.

        Raise SettingsError or VaultError if entering values cannot correct the files.
        """
        settings = load_partial(config_source)
        try:
            is_enabled = load(config_source, empty_is_valid=False).enabled
            problems: list[ForwarderError] = []
        except SettingsError as error:
            if not error.faults:
                raise
            is_enabled, problems = True, [error]
        vault = Vault.open(config_source, settings)
        if is_enabled:
            problems += _missing_secrets(vault)
        # A complete configuration without workflows is valid: the loop reports it, and they can be added on the page.
        is_listed = settings.source.workflows or settings.source.discover
        if problems and not is_listed and not any("source.workflows" in error.message for error in problems):
            problems.append(SettingsError(NO_WORKFLOWS, hint=NO_WORKFLOWS_HINT))
        return cls(settings, missing=MissingParts.of(problems)) if problems else None


def _missing_secrets(vault: Vault) -> list[ForwarderError]:
    problems: list[ForwarderError] = []
    requirements: tuple[Callable[[], object], ...] = (
        lambda: vault.require(ALLOY_API_KEY),
        lambda: StoredKeys.of(vault),
    )
    for require in requirements:
        try:
            require()
        except SecretMissing as error:
            problems.append(error)
    return problems
