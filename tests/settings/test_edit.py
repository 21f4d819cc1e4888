"""An edit of the settings file keeps every other line unchanged."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from forwarder.errors import SettingsError
from forwarder.model import Feed
from forwarder.settings import ConfigSource, load
from forwarder.settings.edit import Value, set_value, set_values
from tests.disk_faults import unprivileged

TEXT = """\
# The settings of the shop.  äöü 🫖
enabled   =  true   # the switch
on_enable = "skip"

[destination]  # the bus
event_bus = 'failures'
region="eu-central-1"# no space

[source]
workflows = [
    "a",  # orders
    { id = "b", user_id = "u" },
]
"""


@pytest.fixture
def config_source(tmp_path: Path) -> ConfigSource:
    file = tmp_path / "forwarder.toml"
    file.write_bytes(TEXT.encode())
    return ConfigSource(file, {})


def text(config_source: ConfigSource) -> str:
    return config_source.file.read_bytes().decode()


def test_edit_changes_only_the_value(config_source: ConfigSource) -> None:
    assert set_value(config_source, "enabled", value=False)
    assert text(config_source) == TEXT.replace("enabled   =  true ", "enabled   =  false ")
    assert set_value(config_source, "enabled", value=True)
    assert text(config_source) == TEXT


def test_edit_with_the_same_value_writes_nothing(config_source: ConfigSource) -> None:
    before = config_source.file.stat()
    assert not set_value(config_source, "enabled", value=True)
    after = config_source.file.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_new_value_is_added_to_its_section(config_source: ConfigSource) -> None:
    config_source.file.write_text("# mine\n\n[destination]\nevent_bus = 'b'  # kept\n")
    set_value(config_source, "enabled", value=False)
    set_value(config_source, "destination.concurrency", value=4)
    set_value(config_source, "run.log_level", value="debug")
    lines = text(config_source).splitlines()
    assert lines.index("enabled = false") < lines.index("[destination]") < lines.index("concurrency = 4")
    assert lines.index("[run]") < lines.index('log_level = "debug"')
    assert lines[0] == "# mine"
    assert "event_bus = 'b'  # kept" in lines


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_edit_keeps_line_endings(config_source: ConfigSource, ending: str) -> None:
    config_source.file.write_bytes(f"# a{ending or chr(10)}enabled = true{ending}".encode())
    set_value(config_source, "enabled", value=False)
    assert config_source.file.read_bytes() == f"# a{ending or chr(10)}enabled = false{ending}".encode()


def test_edit_follows_and_keeps_a_link(config_source: ConfigSource, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "forwarder.toml"
    link.symlink_to(config_source.file)
    set_value(ConfigSource(link, {}), "enabled", value=False)
    assert link.is_symlink()
    assert "false" in text(config_source)


def test_edit_keeps_the_mode(config_source: ConfigSource) -> None:
    config_source.file.chmod(0o640)
    set_value(config_source, "enabled", value=False)
    assert config_source.file.stat().st_mode & 0o777 == 0o640


def test_edit_of_overridden_setting_is_refused_with_hint(config_source: ConfigSource) -> None:
    overridden = ConfigSource(config_source.file, {"FORWARDER_ENABLED": "true"})
    with pytest.raises(SettingsError, match="FORWARDER_ENABLED") as raised:
        set_value(overridden, "enabled", value=False)
    assert raised.value.hint
    assert text(config_source) == TEXT


def test_edit_of_missing_file_creates_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings file"):
        set_value(ConfigSource(tmp_path / "none.toml", {}), "enabled", value=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"enabled = tru", b"\xff", b"[destination]\n[destination]\n", b"destination = 7\n"]
)
def test_edit_of_invalid_toml_changes_nothing(config_source: ConfigSource, content: bytes) -> None:
    config_source.file.write_bytes(content)
    with pytest.raises(SettingsError):
        set_value(config_source, "destination.concurrency", value=4)
    assert config_source.file.read_bytes() == content


def test_edit_of_read_only_file_is_refused_with_hint() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "forwarder.toml"
        file.write_text(TEXT)
        file.chmod(0o444)
        file.parent.chmod(0o777)
        with unprivileged(), pytest.raises(SettingsError, match="read-only") as raised:
            set_value(ConfigSource(file, {}), "enabled", value=False)
        assert raised.value.hint
        assert file.read_text() == TEXT


def test_several_values_are_written_in_one_edit(config_source: ConfigSource) -> None:
    changed: dict[str, Value] = {
        "enabled": False,
        "destination.region": "us-east-1",
        "event.detail_type": "Failed",
        "source.workflows": ["a", {"id": "b", "user_id": "u"}, {"id": "c", "user_id": "ü"}, "d"],
    }
    assert set_values(config_source, changed)
    settings = load(config_source)
    assert (settings.enabled, settings.destination.region, settings.event.detail_type) == (False, "us-east-1", "Failed")
    assert settings.source.workflows == (Feed("a"), Feed("b", "u"), Feed("c", "ü"), Feed("d"))
    for kept in ("# The settings of the shop.  äöü 🫖", "# the switch", "# no space", '    "a",  # orders'):
        assert kept in text(config_source)
    assert not set_values(config_source, changed)


def test_removed_list_items_leave_the_others_unchanged(config_source: ConfigSource) -> None:
    set_values(config_source, {"source.workflows": ["a"]})
    assert '    "a",  # orders\n' in text(config_source)
    assert load(config_source).source.workflows == (Feed("a"),)
    set_values(config_source, {"source.workflows": []})
    assert load(config_source).source.workflows == ()


def test_reordered_list_is_written_in_its_new_order(config_source: ConfigSource) -> None:
    set_values(config_source, {"source.workflows": ["z", {"id": "b", "user_id": "u"}, "a"]})
    assert load(config_source).source.workflows == (Feed("z"), Feed("b", "u"), Feed("a"))


def test_new_list_is_added(config_source: ConfigSource) -> None:
    config_source.file.write_text("[destination]\nevent_bus = 'b'\nregion = 'eu-west-1'\n")
    set_values(config_source, {"source.workflows": ["a", {"id": "b", "user_id": "u"}]})
    assert load(config_source).source.workflows == (Feed("a"), Feed("b", "u"))


def test_invalid_values_are_all_reported_and_change_nothing(config_source: ConfigSource) -> None:
    wrong: dict[str, Value] = {
        "destination.region": "Mars",
        "destination.event_bus": "",
        "event.source": "aws.mine",
        "enabled": False,
    }
    with pytest.raises(SettingsError) as raised:
        set_values(config_source, wrong)
    assert set(raised.value.faults) == {"destination.region", "destination.event_bus", "event.source"}
    assert "not an AWS region" in raised.value.faults["destination.region"]
    assert "Mars" not in str(raised.value)
    assert text(config_source) == TEXT


def test_edit_with_one_overridden_setting_changes_nothing(config_source: ConfigSource) -> None:
    overridden = ConfigSource(config_source.file, {"FORWARDER_DESTINATION__REGION": "eu-west-1"})
    with pytest.raises(SettingsError, match="FORWARDER_DESTINATION__REGION"):
        set_values(overridden, {"enabled": False, "destination.region": "us-east-1"})
    assert text(config_source) == TEXT


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ('enabled = true\n[event]\nsource = "a\nb"\n', "quotation mark that is not closed"),
        ("enabled = true\nx = 1__2\n", "key = value"),
    ],
)
def test_broken_toml_has_the_message_of_other_commands(config_source: ConfigSource, content: str, hint: str) -> None:
    config_source.file.write_text(content)
    with pytest.raises(SettingsError) as loaded:
        load(config_source)
    with pytest.raises(SettingsError) as edited:
        set_value(config_source, "enabled", False)
    assert (edited.value.message, edited.value.hint) == (loaded.value.message, loaded.value.hint)
    assert "line" in edited.value.message
    assert hint in edited.value.hint


def test_file_that_only_the_editor_cannot_read_has_a_hint(config_source: ConfigSource) -> None:
    config_source.file.write_bytes(TEXT.replace("\n", "\r").encode())
    with pytest.raises(SettingsError, match="cannot be edited") as edited:
        set_value(config_source, "enabled", False)
    assert "line feeds" in edited.value.hint
