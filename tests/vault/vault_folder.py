"""A folder with a settings file's name, a master key and a vault in it."""

from collections.abc import Mapping
from pathlib import Path

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
        """The text of a new master key, written where it is looked for."""
        text = master_key.generate().encode()
        self.key_file.touch(0o600)
        self.key_file.write_bytes(text)
        return text


def filled_vault_folder(folder: Path) -> VaultFolder:
    home = VaultFolder(folder)
    home.make_key()
    vault = home.open()
    for name, secret in SECRETS.items():
        vault.set(name, secret, NOON)
    return home
