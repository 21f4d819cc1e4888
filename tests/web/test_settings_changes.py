"""The order of the writes of a save: the daemon may load the files between them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from forwarder import atomicfile
from forwarder.settings import ConfigSource, load, load_local
from forwarder.vault import ALLOY_API_KEY, Vault, master_key
from forwarder.web.settings_changes import save_changes
from forwarder.web.settings_form import SettingsChanges
from tests.harness.process import eventually
from tests.virtual_clock import NOON

SETTINGS = """
[vault]
file = "../secrets/forwarder.keys"
master_key_file = "../secrets/forwarder.master-key"
[destination]
event_bus = "failures"
region = "eu-west-1"
"""


def test_new_secret_is_written_before_its_address(tmp_path: Path) -> None:
    """A lock of the settings' folder stops the save between its two writes."""
    settings_folder, secrets_folder = tmp_path / "settings", tmp_path / "secrets"
    settings_folder.mkdir()
    secrets_folder.mkdir()
    key_file = secrets_folder / "forwarder.master-key"
    key_file.write_text(master_key.generate())
    key_file.chmod(0o600)
    config_source = ConfigSource(settings_folder / "forwarder.toml", {})
    config_source.file.write_text(SETTINGS)
    Vault.open(config_source, load_local(config_source)).set(ALLOY_API_KEY, "previous-key", NOON)
    given = SettingsChanges({"source.base_url": "https://other.example"}, {ALLOY_API_KEY: "new-key"})

    def stored_key() -> str:
        return Vault.open(config_source, load_local(config_source)).require(ALLOY_API_KEY).get_secret_value()

    with ThreadPoolExecutor(1) as executor:
        with atomicfile.locked(settings_folder):
            saving = executor.submit(save_changes, config_source, given, NOON)
            assert eventually(lambda: stored_key() == "new-key", within=10)
            assert load(config_source).source.base_url != "https://other.example"
        assert saving.result() == {}
    assert load(config_source).source.base_url == "https://other.example"
