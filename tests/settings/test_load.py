"""Loading gives settings from a file and an environment, or one error that names every fault and a hint."""

from pathlib import Path
from typing import Any

import pytest

from forwarder.errors import SettingsError
from forwarder.settings import ConfigSource, Settings, load, load_local
from forwarder.settings.load import unknown_variables
from forwarder.settings.models import setting_names
from forwarder.settings.reference import table, template
from forwarder.settings.suggestions import find_nearest

GOOD = '[destination]\nevent_bus = "failures"\nregion = "eu-central-1"\n'
PLANTED = "planted-secret-0001"


def config_source(folder: Path, text: str | bytes = GOOD, **environ: str) -> ConfigSource:
    file = folder / "forwarder.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return ConfigSource(file, environ)


def loaded(folder: Path, text: str = GOOD, **environ: str) -> Settings:
    return load(config_source(folder, text, **environ))


def refused(folder: Path, text: str | bytes, **environ: str) -> SettingsError:
    with pytest.raises(SettingsError) as raised:
        load(config_source(folder, text, **environ))
    assert raised.value.exit_code == 78
    assert PLANTED not in f"{raised.value} {raised.value!r}"
    return raised.value


def test_minimal_file_is_loaded(tmp_path: Path) -> None:
    assert loaded(tmp_path).destination.event_bus == "failures"


def test_precedence_is_variable_then_file_then_default(tmp_path: Path) -> None:
    text = GOOD + "[source]\npage_size = 10\noverlap = '1m'\n"
    settings = loaded(tmp_path, text, FORWARDER_SOURCE__PAGE_SIZE="20", FORWARDER_ENABLED="false")
    assert (settings.source.page_size, settings.enabled) == (20, False)
    assert (settings.source.overlap.total_seconds(), settings.source.concurrency) == (60, 8)


def test_list_in_a_variable_is_json(tmp_path: Path) -> None:
    settings = loaded(tmp_path, FORWARDER_SOURCE__WORKFLOWS='["a", {"id": "b", "user_id": "u"}]')
    assert [str(feed) for feed in settings.source.workflows] == ["a", "b (user u)"]
    for text in (PLANTED, "[" * 5000 + PLANTED):
        assert "FORWARDER_SOURCE__WORKFLOWS" in str(refused(tmp_path, GOOD, FORWARDER_SOURCE__WORKFLOWS=text))


def test_empty_file_with_variables_is_loaded(tmp_path: Path) -> None:
    environ = {"FORWARDER_DESTINATION__EVENT_BUS": "b", "FORWARDER_DESTINATION__REGION": "eu-west-1"}
    assert loaded(tmp_path, "", **environ).destination.event_bus == "b"
    # A reload refuses an empty file, because a file is empty for a moment while it is replaced.
    with pytest.raises(SettingsError, match="empty"):
        load(config_source(tmp_path, "", **environ), empty_is_valid=False)


def test_unknown_variables_are_listed_and_ignored(tmp_path: Path) -> None:
    others = {
        "FORWARDER_PORT": "tcp://1",
        "FORWARDER_SOURCE__PAGESIZE": "7",
        "FORWARDER_SOURCE": "{}",
        "forwarder_enabled": "false",
    }
    source = config_source(
        tmp_path, GOOD, FORWARDER_CONFIG="x", FORWARDER_MASTER_KEY="x", FORWARDER_ENABLED="true", **others
    )
    assert load(source).enabled
    assert unknown_variables(source) == sorted(others)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "[source]\npagesize = 3", ["source.pagesize", "source.page_size"]),
        ("enbled = true\n" + GOOD, ["enbled", "enabled"]),
        ("[sauce]\na = 1\n" + GOOD, ["sauce", "[source]"]),
        (GOOD + "overlap = '5m'", ["destination.overlap", "source.overlap"]),
        ("", ["destination", "event_bus", "region"]),
        ("[destination]\nregion = 'eu-west-1'", ["destination.event_bus", "FORWARDER_DESTINATION__EVENT_BUS"]),
        (GOOD + f"[source]\ntimeout = '{PLANTED}'", ["source.timeout", "duration"]),
        (GOOD + f"[source]\nbase_url = 'https://u:{PLANTED}@x'", ["source.base_url", "vault"]),
        (GOOD + f"[source]\npage_size = '{PLANTED}'", ["source.page_size"]),
        (GOOD + f"[event]\npayload = '{PLANTED}'", ["event.payload", "full", "none"]),
        (GOOD + f"[event]\nsource = 'aws.{PLANTED}'", ["event.source"]),
        (GOOD + f"[event]\ndetail_type = '{PLANTED * 10}'", ["event.detail_type", "128"]),
        (GOOD + f"[source]\nversion = '{PLANTED}/x'", ["source.version"]),
        (GOOD + f"[source]\nworkflows = [{{id = '', x = '{PLANTED}'}}]", ["source.workflows"]),
        (GOOD + f"role_arn = '{PLANTED}'", ["destination.role_arn"]),
        (GOOD + "max_entry_bytes = 500000\nmax_request_bytes = 400000", ["destination", "max_entry_bytes"]),
        (GOOD + f"key = {PLANTED}", ["TOML"]),
        (GOOD + f"key = '{PLANTED}", ["TOML"]),
        (b"\xff\xfe", ["UTF-8"]),
    ],
)
def test_fault_names_its_field_and_not_its_value(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    message = str(refused(tmp_path, text))
    assert [word for word in words if word not in message] == []


def test_all_faults_are_in_one_error(tmp_path: Path) -> None:
    message = str(refused(tmp_path, "[source]\npage_size = 0\n[event]\npayload = 'x'\n[destination]\nregion = 'x'\n"))
    assert all(
        key in message for key in ("source.page_size", "event.payload", "destination.region", "destination.event_bus")
    )


def test_fault_in_a_variable_names_the_variable(tmp_path: Path) -> None:
    message = str(refused(tmp_path, GOOD, FORWARDER_SOURCE__TIMEOUT=PLANTED, FORWARDER_SOURCE__PAGE_SIZE="0"))
    assert "FORWARDER_SOURCE__TIMEOUT" in message
    assert "FORWARDER_SOURCE__PAGE_SIZE" in message


def test_missing_file_is_refused_with_hint(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings file") as raised:
        load(ConfigSource(tmp_path / "none.toml", {}))
    assert "forwarder init" in raised.value.hint
    with pytest.raises(SettingsError):
        load(ConfigSource(tmp_path, {}))


def test_local_settings_are_loaded_beside_invalid_ones(tmp_path: Path) -> None:
    settings = load_local(config_source(tmp_path, "[vault]\nfile = 'x.keys'\n[source]\nnonsense = 1\n"))
    assert settings.vault.file == "x.keys"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("source.pagesize", "source.page_size"), ("page_size", "source.page_size"), ("event.overlap", "source.overlap"),
     ("enable", "enabled"), ("destination.bus", "destination.event_bus")],
)  # fmt: skip
def test_nearest_known_key_is_suggested(wrong: str, right: str) -> None:
    assert find_nearest(wrong) == right


def test_path_is_relative_to_the_file(tmp_path: Path) -> None:
    source = config_source(tmp_path)
    assert (source.path("a/b"), source.path("/c")) == (tmp_path / "a/b", Path("/c"))


def test_template_with_a_bus_is_valid_and_has_the_defaults(tmp_path: Path) -> None:
    text = template().replace('event_bus = ""', 'event_bus = "b"').replace('region = ""', 'region = "eu-west-1"')
    expected: Any = loaded(tmp_path, text)
    uncommented = "\n".join(line.removeprefix("# ") if " = " in line else line for line in text.splitlines())
    assert loaded(tmp_path, uncommented) == expected
    assert expected == loaded(tmp_path, '[destination]\nevent_bus = "b"\nregion = "eu-west-1"\n')
    assert [key for key in setting_names() if f"{key.rpartition('.')[2]} = " not in text] == []


def test_unfilled_template_is_refused_with_the_missing_fields(tmp_path: Path) -> None:
    message = str(refused(tmp_path, template()))
    assert "event_bus" in message
    assert "region" in message


def test_table_has_a_line_for_each_setting() -> None:
    lines = table().splitlines()[2:]
    assert len(lines) == len(setting_names())
    assert all(f"`{key.rpartition('.')[2]}`" in line for key, line in zip(setting_names(), lines, strict=True))


@pytest.mark.parametrize("number", ["", "format = 1\n"])
def test_file_of_this_format_is_loaded(tmp_path: Path, number: str) -> None:
    assert loaded(tmp_path, number + GOOD).destination.event_bus == "failures"


def test_newer_format_is_refused_with_both_numbers(tmp_path: Path) -> None:
    error = refused(tmp_path, "format = 2\n" + GOOD)
    assert "has format 2, of a newer forwarder: this one reads formats up to 1" in error.message
    assert error.hint


@pytest.mark.parametrize("wrong", ["0", "-1", "true", '"1"', "1.0", "[1]"])
def test_invalid_format_is_refused(tmp_path: Path, wrong: str) -> None:
    assert "is not a whole number" in refused(tmp_path, f"format = {wrong}\n" + GOOD).message
