"""The form of the settings page: its fields, their texts, and the changes of a form that was sent.

A secret is write-only: it can be set or removed. The page shows that it is set, its last characters, and when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from forwarder.errors import SettingsError
from forwarder.settings import ConfigSource, Settings, load, pasted
from forwarder.settings.edit import Value
from forwarder.settings.load import overriding_variable, read_table
from forwarder.settings.models import variable
from forwarder.settings.sections import SECTIONS
from forwarder.vault import ALLOY_API_KEY, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, NAMES
from forwarder.web.workflow_ids import format_feed, parse_workflows


@dataclass(frozen=True, slots=True)
class FormField:
    """A setting on the page. `name` is its dotted name, and the name of its input."""

    name: str
    label: str
    hint: str = ""
    input_type: Literal["text", "lines", "checkbox"] = "text"
    placeholder: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class SecretField:
    """A secret on the page. A `readable` one is no secret alone, and can be read while it is typed."""

    name: str
    label: str
    hint: str = ""
    readable: bool = False
    required: bool = False


AWS_SECRETS = (
    SecretField(AWS_ACCESS_KEY_ID, "Access key ID", readable=True),
    SecretField(AWS_SECRET_ACCESS_KEY, "Secret access key"),
    SecretField(AWS_SESSION_TOKEN, "Session token", "Only for temporary keys."),
)
ALLOY_SECRETS = (SecretField(ALLOY_API_KEY, "API key", required=True),)
SECRETS = AWS_SECRETS + ALLOY_SECRETS

AWS_FIELDS = (
    FormField("destination.event_bus", "Event bus name", "Name or ARN.", placeholder="alloy-failures", required=True),
    FormField("destination.region", "Region", placeholder="eu-west-1", required=True),
    FormField("destination.role_arn", "Role ARN", "Optional: a role to assume with these credentials.",
          placeholder="arn:aws:iam::123456789012:role/forwarder"),
    FormField("destination.external_id", "External ID", "If the role asks for one."),
    FormField("event.source", "Source", "The source of each event.", required=True),
    FormField("event.detail_type", "Detail type", "The detail-type of each event.", required=True),
)  # fmt: skip
ALLOY_FIELDS = (
    FormField("source.version", "API version", "The version in the paths of the API. Empty if they have none.",
          placeholder="2024-03"),
    FormField("source.workflows", "Workflows",
          "Their IDs or addresses, one per line. For one user only, add user= and the user's ID.", "lines",
          placeholder="64f1a2c9e1\n64f1a2c9e1 user=u-42"),
    FormField("source.discover", "Also watch every workflow of every user", input_type="checkbox"),
)  # fmt: skip
ADDRESS_FIELDS = (
    FormField("source.base_url", "Address of the logs API", "Alloy's own, unless your account is in another region.",
              placeholder="https://embedded.runalloy.com", required=True),
    FormField("destination.endpoint_url", "Address of EventBridge",
              "Empty for the public one of the region. Set it for a VPC endpoint or an emulator."),
)  # fmt: skip
FIELDS = AWS_FIELDS + ALLOY_FIELDS + ADDRESS_FIELDS
INPUT_NAMES = tuple(
    each.name for group in (AWS_SECRETS, AWS_FIELDS, ALLOY_SECRETS, ALLOY_FIELDS, ADDRESS_FIELDS) for each in group
)
"""The names of all inputs, in the order of the page."""


@dataclass(frozen=True, slots=True)
class SettingsChanges:
    """The changes of a form: settings by name, new secrets, and the names of secrets to remove."""

    values: Mapping[str, Value] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    removed: Sequence[str] = ()

    @property
    def changed(self) -> list[str]:
        """Return the names of all changed settings and secrets, for the log."""
        return [*self.values, *self.secrets, *self.removed]


def format_value(settings: Settings, name: str) -> str:
    """Return a setting as the text of its input."""
    section, _, key = name.partition(".")
    return _format(getattr(getattr(settings, section), key))


def current_texts(config_source: ConfigSource, in_force: Settings) -> dict[str, str]:
    """Return the text of each input, by name. An invalid value is shown as it is in the file, so it can be corrected.

    This reads the settings file. If that is impossible, the texts are those of the settings in force.
    """
    try:
        settings = load(config_source)
    except SettingsError:
        return _texts_of_invalid_file(config_source, in_force)
    return {each.name: format_value(settings, each.name) for each in FIELDS}


def _texts_of_invalid_file(config_source: ConfigSource, in_force: Settings) -> dict[str, str]:
    try:
        table = read_table(config_source.file)
    except SettingsError:
        return {each.name: format_value(in_force, each.name) for each in FIELDS}
    texts = {}
    for each in FIELDS:
        section, _, key = each.name.partition(".")
        default = dict(SECTIONS)[section].model_fields[key].get_default()
        values = table.get(section)
        value = values.get(key, default) if isinstance(values, dict) else default
        texts[each.name] = pasted.trim(config_source.environ.get(variable(each.name), _format(value)))
    return texts


def parse_changes(config_source: ConfigSource, current: Mapping[str, str], given: Mapping[str, str]) -> SettingsChanges:
    """Return the fields of a form that differ from the current texts, its new secrets, and the secrets to remove.

    Settings that the environment overrides are ignored. An empty secret changes nothing.
    """
    values = {
        each.name: _parse_value(each, text, current[each.name])
        for each in FIELDS
        if not overriding_variable(config_source, each.name)
        and (text := _normalize_lines(submitted_text(each, current, given))) != _normalize_lines(current[each.name])
    }
    secrets = {name: text for name in NAMES if (text := pasted.trim(given.get(name, "")))}
    removed = tuple(name for name in NAMES if given.get(f"remove {name}") and name not in secrets)
    return SettingsChanges(values, secrets, removed)


def submitted_text(each: FormField, current: Mapping[str, str], given: Mapping[str, str]) -> str:
    """Return the text of an input that was sent. A browser leaves out a checkbox that is off; other inputs are kept."""
    return given.get(each.name, "" if each.input_type == "checkbox" else current[each.name])


def _parse_value(each: FormField, text: str, current: str) -> Value:
    match each.input_type:
        case "checkbox":
            return bool(text)
        case "lines":
            return parse_workflows(text, known_lines=_normalize_lines(current).splitlines())
        case "text":
            return text


def _normalize_lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _format(value: Any) -> str:
    match value:
        case bool():
            return "on" if value else ""
        case list() | tuple():
            return "\n".join(map(format_feed, value))
        case str() | int() | float():
            return str(value)
        case _:
            return ""
