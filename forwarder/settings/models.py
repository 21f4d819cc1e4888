"""The settings of a file: all of them, or those that a command needs."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from forwarder.settings.local_sections import LedgerSettings, RunSettings, VaultSettings, WebSettings
from forwarder.settings.sections import SECTIONS, DestinationSettings, EventSettings, SourceSettings
from forwarder.settings.validators import common

ENV_PREFIX = "FORWARDER_"
ENV_DELIMITER = "__"


class LocalSettings(BaseSettings):
    """The settings of this machine, for commands that must work before the others are filled in."""

    # Without `case_sensitive`, [Source] would be read as [source], and an edit would write a second section beside it.
    model_config = SettingsConfigDict(
        case_sensitive=True,
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        env_nested_max_split=1,
    )

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # only the source that is used is named
        cls,
        _settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        **_: object,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return only the values that are passed in: `load` has read the file and the variables."""
        return (init_settings,)

    enabled: bool = Field(default=True, description="the switch: off stops polling and publishing")
    on_enable: Literal["catch_up", "skip"] = Field(
        "catch_up", description="after switching on, send or skip what failed meanwhile"
    )
    vault: VaultSettings = Field(default_factory=VaultSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    run: RunSettings = Field(default_factory=RunSettings)

    @field_validator("enabled", "on_enable", mode="before")
    @classmethod
    def _reject_wrapped(cls, value: object) -> object:
        return common.reject_wrapped(value)


class ListenerSettings(LocalSettings):
    """The settings that a command on this machine needs to reach the running daemon."""

    web: WebSettings = Field(default_factory=WebSettings)


class AlloySettings(LocalSettings):
    """The settings that requests to the logs API need."""

    source: SourceSettings = Field(default_factory=SourceSettings)


class AwsSettings(LocalSettings):
    """The settings that requests to the event bus need."""

    event: EventSettings = Field(default_factory=EventSettings)
    destination: DestinationSettings


class Settings(AlloySettings):
    """The complete settings. `forwarder.settings.load` returns them."""

    event: EventSettings = Field(default_factory=EventSettings)
    destination: DestinationSettings
    web: WebSettings = Field(default_factory=WebSettings)

    @model_validator(mode="after")
    def _check_id_retention(self) -> Self:
        """Raise ValueError if `id_retention` is so short that a listed execution could be sent a second time."""
        if self.ledger.id_retention < self.source.max_run_duration + self.source.max_lateness:
            raise ValueError(
                "ledger.id_retention is shorter than source.max_run_duration and source.max_lateness together"
            )
        return self


TOP_LEVEL_KEYS = ("enabled", "on_enable")
"""The keys at the top of the file, before any section."""


def setting_names() -> tuple[str, ...]:
    """Return the dotted names of all settings."""
    return TOP_LEVEL_KEYS + tuple(f"{name}.{key}" for name, section in SECTIONS for key in section.model_fields)


def variable(key: str) -> str:
    """Return the variable that overrides a setting: `FORWARDER_SOURCE__BASE_URL` for `source.base_url`."""
    return ENV_PREFIX + key.replace(".", ENV_DELIMITER).upper()
