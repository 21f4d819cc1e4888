"""The form of the settings page, with real files."""

from pathlib import Path

import pytest

from forwarder.errors import SettingsError
from forwarder.model import Feed
from forwarder.settings import ConfigSource, load
from forwarder.vault import Vault, master_key
from forwarder.web import settings_form
from forwarder.web.settings_changes import save_changes
from forwarder.web.settings_form import SettingsChanges
from tests.virtual_clock import NOON

TEXT = """\
# Ours.
[source]
workflows = [
    "a",  # orders
    { id = "b", user_id = "u 1" },
]
[destination]
event_bus = "failures"  # of the shop
region = "eu-central-1"
"""


@pytest.fixture
def config_source(tmp_path: Path) -> ConfigSource:
    file = tmp_path / "forwarder.toml"
    file.write_text(TEXT)
    key = tmp_path / "forwarder.master-key"
    key.write_text(master_key.generate())
    key.chmod(0o600)
    return ConfigSource(file, {})


def form_values(config_source: ConfigSource, **changes: str) -> dict[str, str]:
    settings = load(config_source)
    values = {each.name: settings_form.format_value(settings, each.name) for each in settings_form.FIELDS}
    return values | {name.replace("__", "."): text for name, text in changes.items()}


def parse_form(config_source: ConfigSource, given: dict[str, str]) -> SettingsChanges:
    return settings_form.parse_changes(
        config_source, settings_form.current_texts(config_source, load(config_source)), given
    )


def vault(config_source: ConfigSource) -> Vault:
    return Vault.open(config_source, load(config_source))


def test_form_without_edits_has_no_changes(config_source: ConfigSource) -> None:
    assert parse_form(config_source, form_values(config_source)) == SettingsChanges()


def test_edited_fields_are_saved_and_the_rest_stays(config_source: ConfigSource) -> None:
    given = form_values(
        config_source,
        destination__region=" us-east-1 ",
        source__workflows="a\r\n\r\nc user=ü\r\nb user=u 1",
        source__discover="on",
    )
    assert save_changes(config_source, parse_form(config_source, given), NOON) == {}
    settings = load(config_source)
    assert settings.destination.region == "us-east-1"
    assert settings.source.workflows == (Feed("a"), Feed("c", "ü"), Feed("b", "u 1"))
    assert settings.source.discover
    assert '"failures"  # of the shop' in config_source.file.read_text()


def test_secrets_are_sealed_and_kept_by_an_empty_field(config_source: ConfigSource) -> None:
    keys = {"aws-access-key-id": "AKIAPLANTED000000001", "aws-secret-access-key": "planted/secret+key/0001"}
    assert save_changes(config_source, parse_form(config_source, form_values(config_source) | keys), NOON) == {}
    assert (
        save_changes(
            config_source, parse_form(config_source, form_values(config_source) | dict.fromkeys(keys, "")), NOON
        )
        == {}
    )
    stored = vault(config_source)
    assert stored.suffix("aws-access-key-id") == "0001"
    assert stored.set_at("aws-secret-access-key") == NOON
    gone = form_values(config_source) | {f"remove {name}": "yes" for name in keys}
    assert save_changes(config_source, parse_form(config_source, gone), NOON) == {}
    assert vault(config_source).reveal("aws-access-key-id") is None


def test_changes_repr_contains_no_secret(config_source: ConfigSource) -> None:
    given = parse_form(config_source, form_values(config_source) | {"alloy-api-key": "planted-secret"})
    assert given.changed == ["alloy-api-key"]
    assert "planted" not in repr(given)


def test_faults_name_their_fields_and_save_nothing(config_source: ConfigSource) -> None:
    given = form_values(
        config_source, destination__region="Mars", event__source="aws.mine", source__workflows="a\nb user="
    )
    faults = save_changes(config_source, parse_form(config_source, given | {"alloy-api-key": "a planted key"}), NOON)
    assert set(faults) == {"destination.region", "event.source", "source.workflows", "alloy-api-key"}
    assert faults["destination.region"] == "Is not an AWS region such as eu-west-1"
    assert "planted" not in str(faults)
    assert config_source.file.read_text() == TEXT
    assert vault(config_source).reveal("alloy-api-key") is None


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"aws-access-key-id": "AKIA"}, "aws-secret-access-key"),
        ({"aws-secret-access-key": "s"}, "aws-access-key-id"),
        ({"aws-session-token": "t", "aws-access-key-id": "AKIA"}, "aws-secret-access-key"),
    ],
)
def test_incomplete_aws_key_is_refused(config_source: ConfigSource, given: dict[str, str], missing: str) -> None:
    """The daemon does not accept it either."""
    assert set(save_changes(config_source, parse_form(config_source, form_values(config_source) | given), NOON)) == {
        missing
    }
    assert vault(config_source).reveal("aws-access-key-id") is None


def test_field_set_by_the_environment_is_not_changed(config_source: ConfigSource) -> None:
    overridden = ConfigSource(config_source.file, {"FORWARDER_DESTINATION__REGION": "eu-west-1"})
    given = parse_form(overridden, form_values(config_source, destination__region="us-east-1"))
    assert given == SettingsChanges()


def test_fault_elsewhere_in_the_file_is_an_error(config_source: ConfigSource) -> None:
    given = parse_form(config_source, form_values(config_source, destination__region="us-east-1"))
    config_source.file.write_text(TEXT + "[event]\npayload = 7\n")
    assert "Event.payload" in save_changes(config_source, given, NOON)[""]
    config_source.file.write_text(TEXT + "[run]\nlog_level = 7\n")
    with pytest.raises(SettingsError, match="log_level"):
        save_changes(config_source, given, NOON)


def test_input_that_was_not_sent_is_kept_unless_a_checkbox(config_source: ConfigSource) -> None:
    given = form_values(config_source, source__discover="on")
    assert save_changes(config_source, parse_form(config_source, given), NOON) == {}
    assert parse_form(config_source, {}) == SettingsChanges({"source.discover": False})
