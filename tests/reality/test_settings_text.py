"""The settings in the syntax of other tools: templates, other formats, env files, Kubernetes."""

from __future__ import annotations

from pathlib import Path

import pytest

from forwarder.errors import SettingsError
from forwarder.settings import ConfigSource, load
from forwarder.settings.load import unknown_variables
from forwarder.settings.suggestions import suggest_for_variable
from tests.e2e.conftest import alloy, bus, installation, vault_secrets
from tests.harness.installation import Installation

__all__ = ["alloy", "bus", "installation", "vault_secrets"]

GOOD = '[destination]\nevent_bus = "failures"\nregion = "eu-central-1"\n'
PLANTED = "pl4nted-0123456789"
BUS, REGION, ENABLED = "FORWARDER_DESTINATION__EVENT_BUS", "FORWARDER_DESTINATION__REGION", "FORWARDER_ENABLED"
TIMEOUT, WORKFLOWS = "FORWARDER_SOURCE__TIMEOUT", "FORWARDER_SOURCE__WORKFLOWS"


def config_source(folder: Path, text: str = GOOD, **environ: str) -> ConfigSource:
    file = folder / "forwarder.toml"
    file.write_text(text)
    return ConfigSource(file, environ)


def refusal(at: ConfigSource) -> str:
    with pytest.raises(SettingsError) as raised:
        load(at)
    assert PLANTED not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace('"failures"', "\u201cfailures\u201d"), ["line 2", "typographic quotation marks"]),
        (GOOD.replace('"failures"', "\u00abfailures\u00bb"), ["line 2", "typographic quotation marks"]),
        (GOOD.replace("event_bus =", "event_bus\u00a0="), ["line 2", "invisible character"]),
        (GOOD.replace("region", "\u200bregion"), ["line 3", "invisible character"]),
        (GOOD.replace('"failures"', "failures"), ["line 2", "without quotation marks"]),
        (GOOD.replace('"failures"', "&quot;failures&quot;"), ["line 2", "HTML"]),
        (GOOD.replace('"failures"', '\\"failures\\"'), ["line 2", "backslash before a quotation mark"]),
        (GOOD.replace('"failures"', '"failures",'), ["line 2", "comma"]),
        (GOOD.replace('"failures"', '"failures";'), ["line 2", "semicolon"]),
        (GOOD.replace('"failures"', '"failures'), ["line 2", "not closed"]),
        (GOOD.replace("event_bus =", "event_bus:"), ["line 2", "colon"]),
        (GOOD.replace("event_bus =", "event_bus =>"), ["line 2", "another sign"]),
        (GOOD.replace('"failures"', ""), ["line 2", "no value"]),
        (GOOD + "[source]\ntimeout = 30s\n", ["line 5", "a number with a unit"]),
        ("enabled = True\n" + GOOD, ["line 1", "write true or false"]),
        ("enabled = no\n" + GOOD, ["line 1", "write true or false"]),
        (GOOD + "role_arn = null\n", ["line 4", "no value: remove the line"]),
        ("; ours\n" + GOOD, ["line 1", "begin a comment with #"]),
        ("// ours\n" + GOOD, ["line 1", "begin a comment with #"]),
        ("export REGION=x\n" + GOOD, ["line 1", "shell"]),
        ("destination:\n  event_bus: failures\n", ["YAML"]),
        ("---\nenabled: true\n", ["YAML"]),
        ('{"destination": {"event_bus": "failures"}}', ["JSON"]),
        ("```toml\n" + GOOD + "```\n", ["Markdown"]),
        ("<<<<<<< HEAD\n" + GOOD + "=======\n>>>>>>> main\n", ["merge conflict"]),
        ("cat > forwarder.toml <<EOF\n" + GOOD + "EOF\n", ["shell command"]),
        (GOOD.replace('"failures"', "{{ bus }}"), ["template"]),
        ("{% if x %}\n" + GOOD + "{% endif %}\n", ["template"]),
        (GOOD + 'region = "eu-west-1"\n', ["line 4 repeats", "line 3"]),
        (GOOD + "[source]\n[destination]\n", ["line 5 repeats", "line 1"]),
        (GOOD + '[ledger]\nurl = "sqlite:///C:\\Users\\x.db"\n', ["line 5", "single quotes"]),
        (GOOD + f"[source]\napi_key = {PLANTED}\n", ["line 5", "without quotation marks"]),
    ],
)
def test_syntax_error_names_line_and_cause(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refusal(config_source(tmp_path, text))
    assert [word for word in words if word not in message] == []


def test_backslash_that_is_a_line_break_is_refused(tmp_path: Path) -> None:
    message = refusal(config_source(tmp_path, GOOD + '[vault]\nfile = "C:\\new\\table"\n'))
    assert "vault.file" in message
    assert "single quotes" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Enabled = false\n" + GOOD, ["Enabled is not a setting", "did you mean enabled?"]),
        (GOOD + "[Source]\ntimeout = '5s'\n", ["Source is not a setting", "did you mean [source]?"]),
        (GOOD.replace("event_bus", "eventBus"), ["did you mean destination.event_bus?"]),
        (GOOD.replace("event_bus", "EVENT_BUS"), ["did you mean destination.event_bus?"]),
        (GOOD.replace("event_bus", "event-bus"), ["did you mean destination.event_bus?"]),
        (f'{REGION} = "x"\n' + GOOD, ["did you mean destination.region?"]),
        (GOOD + f'[source]\napi_key = "{PLANTED}"\n', ["source.api_key", "forwarder keys set"]),
        (GOOD + f'aws_secret_access_key = "{PLANTED}"\n', ["destination.aws_secret_access_key", "keys set"]),
        (f'alloy-api-key = "{PLANTED}"\n' + GOOD, ["alloy-api-key", "forwarder keys set"]),
        ("[[destination]]\n" + GOOD.partition("\n")[2], ["destination is not a section", "single brackets"]),
        (GOOD + '[source]\nworkflows = "a"\n', ["source.workflows is not a list"]),
        (GOOD.replace('"failures"', "12"), ["destination.event_bus is not a text"]),
    ],
)
def test_similar_name_or_wrong_type_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refusal(config_source(tmp_path, text))
    assert [word for word in words if word not in message] == []


TEMPLATES = (
    *("${BUS}", "${BUS:-x}", "${var.bus}", "$(BUS)", "${{ secrets.BUS }}", "{{ .Values.bus }}", "#{BUS}#", "__BUS__"),
    *("@@BUS@@", "@BUS@", "%{bus}", "((bus))", "var.bus", "!Ref Bus", "!GetAtt Bus.Name"),
)
MISSING = ("null", "None", "undefined", "<no value>", "<nil>", "%!s(<nil>)", "(null)", "[object Object]", "NaN")


@pytest.mark.parametrize("value", [*TEMPLATES, *MISSING])
def test_unfilled_template_is_refused(tmp_path: Path, value: str) -> None:
    words = ("variable or a template", "missing value", "placeholder")
    for message in (
        refusal(config_source(tmp_path, GOOD.replace("failures", value))),
        refusal(config_source(tmp_path, **{BUS: value})),
    ):
        assert "destination.event_bus" in message
        assert any(each in message for each in words)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (ENABLED, '"false"', "quotation marks"),
        (ENABLED, "'false'", "quotation marks"),
        (ENABLED, "false # for now", "comment"),
        (REGION, "eu-west-1  # Ireland", "comment"),
        (TIMEOUT, '"5s"', "quotation marks"),
        (ENABLED, "", "is empty: unset it"),
        (ENABLED, " ", "is empty: unset it"),
        (TIMEOUT, "", "is empty: unset it"),
        (WORKFLOWS, "", "is empty: unset it"),
        ("FORWARDER_SOURCE__PAGE_SIZE", "", "is empty: unset it"),
        (BUS, "", "is empty: unset it"),
        (ENABLED, "enabled", "neither true nor false"),
        (WORKFLOWS, '"a"', "not a list"),
        (WORKFLOWS, "a,b", "not JSON"),
    ],
)
def test_variable_of_an_env_file_is_named(tmp_path: Path, name: str, value: str, words: str) -> None:
    message = refusal(config_source(tmp_path, **{name: value}))
    assert name in message
    assert words in message


def test_empty_variable_of_an_optional_text_is_its_value(tmp_path: Path) -> None:
    assert load(config_source(tmp_path, FORWARDER_WEB__LISTEN="")).web.listen == ""


@pytest.mark.parametrize(
    "name",
    [
        "FORWARDER_DESTINATION_REGION",
        "forwarder_destination__region",
        "FORWARDER__DESTINATION__REGION",
        "FORWARDER_DESTINATION__Region",
    ],
)
def test_variable_in_another_spelling_is_named(tmp_path: Path, name: str) -> None:
    """The variable has no effect. The error about the missing setting and the warning name the right one."""
    at = config_source(tmp_path, GOOD.replace('region = "eu-central-1"\n', ""), **{name: "eu-west-1"})
    message = refusal(at)
    assert REGION in message
    assert f"{name} is not its name" in message
    assert unknown_variables(at) == [name]
    assert suggest_for_variable(name) == f"did you mean {REGION}?"


def test_variables_that_kubernetes_adds_change_nothing(tmp_path: Path) -> None:
    """A Service with the name `forwarder` adds these variables to every pod of its namespace."""
    links = {
        "FORWARDER_PORT": "tcp://10.0.0.1:8787",
        "FORWARDER_PORT_8787_TCP": "tcp://10.0.0.1:8787",
        "FORWARDER_PORT_8787_TCP_PORT": "8787",
        "FORWARDER_SERVICE_HOST": "10.0.0.1",
        "FORWARDER_SERVICE_PORT": "8787",
        "FORWARDER_WEB_PORT": "tcp://10.0.0.2:8787",
    }
    assert load(config_source(tmp_path, **links)) == load(config_source(tmp_path))


def test_secret_in_a_variable_is_sent_to_the_vault() -> None:
    for name in ("FORWARDER_SOURCE__API_KEY", "FORWARDER_ALLOY_API_KEY", "FORWARDER_AWS_SECRET_ACCESS_KEY"):
        assert "forwarder keys set" in suggest_for_variable(name)
    assert suggest_for_variable("FORWARDER_SERVICE_HOST") == ""


def test_enable_with_a_capitalized_switch_is_refused(installation: Installation) -> None:
    """`enable` must not add a second line beside `Enabled = false`, which would stay in force."""
    installation.write("Enabled = false\n" + installation.settings_file.read_text().replace("enabled = true\n", ""))
    checked = installation.run_command("check")
    assert checked.code == 78
    assert "did you mean enabled?" in checked.output
    assert "Traceback" not in checked.output
