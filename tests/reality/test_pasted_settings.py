"""Pasted settings: with white space, quotation marks or names, or in the wrong field."""

from __future__ import annotations

from pathlib import Path

import pytest

from forwarder.errors import SettingsError
from forwarder.model import Feed
from forwarder.settings import ConfigSource, Settings, load


def settings(folder: Path, text: str, **environ: str) -> Settings:
    file = folder / "forwarder.toml"
    file.write_text(text)
    return load(ConfigSource(file, environ))


def destination(event_bus: str = "failures", region: str = "eu-central-1", more: str = "") -> str:
    return f'[destination]\nevent_bus = "{event_bus}"\nregion = "{region}"\n{more}\n'


def source(line: str) -> str:
    return f"[source]\n{line}\n" + destination()


BUS = "arn:aws:events:us-east-1:123456789012:event-bus/failures"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (destination(BUS), ["destination.event_bus", "us-east-1", "eu-central-1", 'set region = "us-east-1"']),
        (destination("arn:aws:events:eu-central-1:123456789012:rule/x/y"), ["destination.event_bus", "rule"]),
        (destination("arn:aws:events:eu-central-1::event-source/aws.partner/x"), ["partner event source"]),
        (destination("arn:aws:events:eu-central-1:1234:event-bus/x"), ["not complete"]),
        (destination("arn:aws:sns:eu-central-1:123456789012:topic"), ["another service"]),
        (destination("https://eu-central-1.console.aws.amazon.com/events/home#/eventbus/x"), ["web address"]),
        (destination("'failures'"), ["destination.event_bus", "quotation marks"]),
        (destination("EVENT_BUS=failures"), ["destination.event_bus", "name with its value"]),
        (destination("<your-bus>"), ["destination.event_bus", "placeholder"]),
        (destination(region="eu-central-1a"), ["destination.region", "availability zone"]),
        (destination(region="EU-CENTRAL-1"), ["destination.region", "small letters"]),
        (destination(region="Europe (Ireland)"), ["destination.region", "eu-west-1"]),
        (destination(region="AWS_REGION=eu-central-1"), ["destination.region", "name with its value"]),
        (destination(more='role_arn = "arn:aws:iam::123456789012:user/me"'), ["destination.role_arn", "user"]),
        (destination(more='role_arn = "arn:aws:sts::123456789012:assumed-role/r/s"'), ["role's session"]),
        (destination(more='role_arn = "arn:aws:iam::123456789012:instance-profile/x"'), ["instance profile"]),
        (destination(more='role_arn = "arn:aws:iam::123456789012:role/a b"'), ["destination.role_arn"]),
        (source('base_url = "https://embedded.runalloy.com/2024-03"'), ["source.base_url", "version already"]),
        (source('base_url = "https://embedded.runalloy.com/2025-09/"'), ['version = "2025-09"']),
        (source('base_url = "https://embedded.runalloy.com/2024-03/workflow/1/logs"'), ["version already"]),
        (source('base_url = "https://embedded.runalloy.com/workflow/1/logs"'), ["source.base_url", "after the host"]),
        (source('base_url = "https://embedded.runalloy.com?limit=3"'), ["source.base_url", "query"]),
        (source('base_url = "https://embedded.runalloy.com#x"'), ["source.base_url", "fragment"]),
        (source('base_url = "embedded.runalloy.com"'), ["source.base_url", "begin it with https://"]),
        (source('base_url = "embedded.runalloy.com:443/x"'), ["source.base_url", "begin it with https://"]),
        (source("base_url = '\"https://embedded.runalloy.com\"'"), ["source.base_url", "quotation marks"]),
        (source('workflows = ["a,b"]'), ["source.workflows", "several"]),
        (source('workflows = ["64f1a2c9 64f1a2d0"]'), ["source.workflows", "several"]),
        (source('workflows = ["64f1a2c9\\n64f1a2d0"]'), ["source.workflows", "several"]),
        (source('workflows = ["a/b"]'), ["source.workflows", "slash"]),
        (source('workflows = ["."]'), ["source.workflows", "slash"]),
        (source('workflows = [{ id = ".." }]'), ["source.workflows", "slash"]),
        (source('workflows = ["https://app.example.com/workflows/1"]'), ["source.workflows", "address"]),
        (source("workflows = ['\"a\"']"), ["source.workflows", "quotation marks"]),
        (source('workflows = ["<workflow id>"]'), ["source.workflows", "placeholder"]),
        (source('workflows = ["{{workflowId}}"]'), ["source.workflows", "variable"]),
        (destination() + '[web]\nlisten = "8787"', ["web.listen", "port alone"]),
        (destination() + '[web]\nlisten = ":8787"', ["web.listen", "port alone"]),
        (destination() + '[web]\nlisten = "http://127.0.0.1:8787"', ["web.listen", "web address"]),
    ],
)
def test_setting_of_another_form_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(tmp_path, text)
    assert [word for word in words if word not in str(raised.value)] == []


def test_white_space_around_settings_is_stripped(tmp_path: Path) -> None:
    text = '[source]\nworkflows = [" a\\r\\n", "a", {id = "\u200bb", user_id = "u\u00a0"}]\n'
    text += destination(" failures\u200b", "eu-central-1\\n")
    found = settings(tmp_path, text)
    assert (found.destination.event_bus, found.destination.region) == ("failures", "eu-central-1")
    assert found.source.workflows == (Feed("a"), Feed("b", "u"))


def test_white_space_around_variables_is_stripped(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        destination(),
        FORWARDER_DESTINATION__REGION="eu-west-1\r\n",
        FORWARDER_ENABLED="false\r",
        FORWARDER_SOURCE__TIMEOUT=" 5s\n",
        FORWARDER_SOURCE__WORKFLOWS='["a ", "a"]\r\n',
    )
    assert (found.destination.region, found.enabled) == ("eu-west-1", False)
    assert found.source.workflows == (Feed("a"),)


@pytest.mark.parametrize(
    "text",
    [
        destination("my-bus"),
        destination("todo"),
        destination("yours"),
        destination("aws.partner/example.com/1/x"),
        destination(BUS, "us-east-1"),
        source('base_url = "https://gateway.example.com/alloy/"'),
        source('base_url = "https://embedded.runalloy.com/2024-03"\nversion = ""'),
        source('workflows = ["my-workflow", "flow_1:a", "64f1a2c9e1", "a.b", "ü"]'),
        destination() + '[event]\ndetail_type = \'["quoted"] <type>\'\nredact = ["x_here", "<abc>"]',
    ],
)
def test_unusual_setting_is_accepted(tmp_path: Path, text: str) -> None:
    settings(tmp_path, text)
