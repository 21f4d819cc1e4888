"""The settings page's form, against real files."""

from pathlib import Path

import pytest

from forwarder.errors import SettingsError
from forwarder.model import Feed
from forwarder.settings import Place, load
from forwarder.vault import Vault, master_key
from forwarder.web import form
from forwarder.web.form import Submitted
from tests.clocks import NOON

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
def place(tmp_path: Path) -> Place:
    file = tmp_path / "forwarder.toml"
    file.write_text(TEXT)
    key = tmp_path / "forwarder.master-key"
    key.write_text(master_key.generate())
    key.chmod(0o600)
    return Place(file, {})


def as_shown(place: Place, **changes: str) -> dict[str, str]:
    settings = load(place)
    shown = {each.name: form.shown(settings, each.name) for each in form.FIELDS}
    return shown | {name.replace("__", "."): text for name, text in changes.items()}


def submitted(place: Place, given: dict[str, str]) -> Submitted:
    return form.submitted(place, load(place), given)


def vault(place: Place) -> Vault:
    return Vault.open(place, load(place))


def test_a_form_sent_back_as_it_was_shown_changes_nothing(place: Place) -> None:
    assert submitted(place, as_shown(place)) == Submitted()


def test_what_differs_is_saved_and_the_rest_of_the_file_stays(place: Place) -> None:
    given = as_shown(
        place,
        destination__region=" us-east-1 ",
        source__workflows="a\r\n\r\nc user=ü\r\nb user=u 1",
        source__discover="on",
    )
    assert form.save(place, submitted(place, given), NOON) == {}
    settings = load(place)
    assert settings.destination.region == "us-east-1"
    assert settings.source.workflows == (Feed("a"), Feed("c", "ü"), Feed("b", "u 1"))
    assert settings.source.discover
    assert '"failures"  # of the shop' in place.file.read_text()


def test_secrets_are_sealed_and_an_empty_field_keeps_what_is_set(place: Place) -> None:
    keys = {"aws-access-key-id": "AKIAPLANTED000000001", "aws-secret-access-key": "planted/secret+key/0001"}
    assert form.save(place, submitted(place, as_shown(place) | keys), NOON) == {}
    assert form.save(place, submitted(place, as_shown(place) | dict.fromkeys(keys, "")), NOON) == {}
    opened = vault(place)
    assert opened.ending("aws-access-key-id") == "0001"
    assert opened.set_at("aws-secret-access-key") == NOON
    gone = as_shown(place) | {f"remove {name}": "yes" for name in keys}
    assert form.save(place, submitted(place, gone), NOON) == {}
    assert vault(place).reveal("aws-access-key-id") is None


def test_what_is_submitted_does_not_tell_its_secrets(place: Place) -> None:
    given = submitted(place, as_shown(place) | {"alloy-api-key": "planted-secret"})
    assert given.changed == ["alloy-api-key"]
    assert "planted" not in repr(given)


def test_faults_are_told_beside_their_fields_and_nothing_is_saved(place: Place) -> None:
    given = as_shown(place, destination__region="Mars", event__source="aws.mine", source__workflows="a\nb user=")
    faults = form.save(place, submitted(place, given | {"alloy-api-key": "a planted key"}), NOON)
    assert set(faults) == {"destination.region", "event.source", "source.workflows", "alloy-api-key"}
    assert faults["destination.region"] == "Is not an AWS region such as eu-west-1"
    assert "planted" not in str(faults)
    assert place.file.read_text() == TEXT
    assert vault(place).reveal("alloy-api-key") is None


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"aws-access-key-id": "AKIA"}, "aws-secret-access-key"),
        ({"aws-secret-access-key": "s"}, "aws-access-key-id"),
        ({"aws-session-token": "t", "aws-access-key-id": "AKIA"}, "aws-secret-access-key"),
    ],
)
def test_half_an_aws_key_is_refused_for_the_daemon_would_not_take_it(
    place: Place, given: dict[str, str], missing: str
) -> None:
    assert set(form.save(place, submitted(place, as_shown(place) | given), NOON)) == {missing}
    assert vault(place).reveal("aws-access-key-id") is None


def test_what_the_environment_overrides_cannot_be_changed(place: Place) -> None:
    overridden = Place(place.file, {"FORWARDER_DESTINATION__REGION": "eu-west-1"})
    given = submitted(overridden, as_shown(place, destination__region="us-east-1"))
    assert given == Submitted()


def test_a_file_that_is_wrong_elsewhere_is_told(place: Place) -> None:
    given = submitted(place, as_shown(place, destination__region="us-east-1"))
    place.file.write_text(TEXT + "[event]\npayload = 7\n")
    assert "Event.payload" in form.save(place, given, NOON)[""]
    place.file.write_text(TEXT + "[run]\nlog_level = 7\n")
    with pytest.raises(SettingsError, match="log_level"):
        form.save(place, given, NOON)
