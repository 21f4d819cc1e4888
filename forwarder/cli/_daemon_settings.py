"""The settings with which a command finds the running daemon, also while the settings file is invalid."""

from dataclasses import dataclass

from forwarder.errors import SettingsError
from forwarder.ledger import LedgerPlace, ledger_place
from forwarder.settings import ConfigSource
from forwarder.settings.load import load_listeners
from forwarder.settings.models import ListenerSettings
from forwarder.settings.partial import load_valid_sections


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """The settings of this machine and of [web], and the place of the ledger.

    `error` is the error of the file, or None if these sections are valid. `knows_listener` is false if the file may
    name another listener.
    """

    settings: ListenerSettings
    place: LedgerPlace
    error: SettingsError | None = None
    knows_listener: bool = True


def find_daemon_settings(config_source: ConfigSource) -> DaemonSettings:
    """Return the settings of the file, or of its valid sections. Raise SettingsError if they do not find the ledger.

    A running daemon keeps its last valid settings. A health check that failed while the file is invalid would make the
    container's runtime restart a daemon that works, and the new process could not start.
    """
    try:
        settings = load_listeners(config_source)
    except SettingsError as error:
        try:
            found = load_valid_sections(config_source)
        except SettingsError:
            raise error from None
        place = ledger_place(config_source, found.settings)
        is_known = "ledger" not in found.unknown or "url" in found.settings.ledger.model_fields_set
        if not is_known and not place.is_locked():
            raise
        return DaemonSettings(found.settings, place, error, knows_listener="web" not in found.unknown)
    return DaemonSettings(settings, ledger_place(config_source, settings))
