"""A folder with a settings file, a master key and a vault."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from forwarder.settings import ConfigSource, LocalSettings, load_local
from forwarder.vault import ALLOY_API_KEY, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, Vault, master_key
from tests.virtual_clock import NOON

SECRETS = {
    ALLOY_API_KEY: "planted-alloy-key-0001",
    AWS_ACCESS_KEY_ID: "AKIAPLANTED000000001",
    AWS_SECRET_ACCESS_KEY: "planted/secret+key/0001",
}


class VaultFolder:
    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.config_source = ConfigSource(folder / "forwarder.toml", environ or {})
        self.config_source.file.touch()
        self.vault_file = folder / "forwarder.keys"
        self.key_file = folder / "forwarder.master-key"

    @property
    def settings(self) -> LocalSettings:
        return load_local(self.config_source)

    def open(self) -> Vault:
        return Vault.open(self.config_source, self.settings)

    def secret_values(self) -> dict[str, str]:
        vault = self.open()
        secrets = {name: vault.reveal(name) for name in SECRETS}
        return {name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None}

    def make_key(self) -> bytes:
        """Write a new master key to its default file, and return its text."""
        text = master_key.generate().encode()
        self.key_file.touch(0o600)
        self.key_file.write_bytes(text)
        return text


def filled_vault_folder(folder: Path) -> VaultFolder:
    """Return a folder with SECRETS in its vault. All of them have the same files, because each write is synced."""
    vault_folder = VaultFolder(folder)
    for file, content in zip((vault_folder.key_file, vault_folder.vault_file), _filled_files(), strict=True):
        file.touch(0o600)
        file.write_bytes(content)
    return vault_folder


@cache
def _filled_files() -> tuple[bytes, bytes]:
    """Return the contents of a new master key and of a vault with SECRETS."""
    with TemporaryDirectory() as folder:
        vault_folder = VaultFolder(Path(folder))
        key = vault_folder.make_key()
        vault = vault_folder.open()
        for name, secret in SECRETS.items():
            vault.set(name, secret, NOON)
        return key, vault_folder.vault_file.read_bytes()
