"""The real credential chain inside this process, with the environment and files of a test."""

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from forwarder.aws.credential_chain import load_keys
from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.errors import DestinationError
from tests.factories import some_settings
from tests.fakes.eventbridge import BUS, REGION

SECRET = "pl4nted"
"""The part of every planted secret. No message may contain it."""

CLEARED = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE"),
    *("AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "REQUESTS_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "AWS_CONFIG_FILE"),
)


@dataclass(frozen=True)
class Chain:
    """A credential chain with a home directory, which `{home}` in the texts of a test stands for."""

    home: Path
    patch: pytest.MonkeyPatch = field(repr=False)

    def plant(self, env: dict[str, str], files: dict[str, str | bytes]) -> None:
        for name in CLEARED:
            self.patch.delenv(name, raising=False)
        bare = {"HOME": str(self.home), "AWS_EC2_METADATA_DISABLED": "true"}
        for name, value in (bare | env).items():
            self.patch.setenv(name, self._filled(value))
        for name, content in files.items():
            file = self.home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else self._filled(content).encode())
            if name.endswith(".sh"):
                file.chmod(stat.S_IRWXU)

    async def refusal(self, stored: StoredKeys | None = None, **destination: Any) -> DestinationError:
        """Return the error of the chain. Its message and hint are one line each, and contain no secret."""
        identity = self.identity(stored, **destination)
        with pytest.raises(DestinationError) as raised:
            await load_keys(identity.session())
        error = raised.value
        for text in (error.message, error.hint):
            assert text.isprintable(), text
            assert SECRET not in text
        assert error.message
        return error

    def identity(self, stored: StoredKeys | None = None, **destination: Any) -> Identity:
        settings = {"event_bus": BUS, "region": REGION, "timeout": "2s"} | destination
        return Identity(some_settings(destination=settings).destination, stored)

    def _filled(self, text: str) -> str:
        return text.replace("{home}", str(self.home))
