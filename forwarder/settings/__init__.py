"""The settings: their fields, where they are read from, how they are edited and watched."""

from forwarder.settings.load import ConfigSource, load, load_local, resolve_config
from forwarder.settings.models import LocalSettings, Settings

__all__ = ["ConfigSource", "LocalSettings", "Settings", "load", "load_local", "resolve_config"]
