"""The settings: their fields, where they are read from, how they are edited and watched."""

from forwarder.settings.fields import LocalSettings, Settings
from forwarder.settings.load import Place, here, load, load_local

__all__ = ["LocalSettings", "Place", "Settings", "here", "load", "load_local"]
