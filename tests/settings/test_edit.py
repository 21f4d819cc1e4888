"""Edits of the settings file leave every other line as it was."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from forwarder.errors import SettingsError
from forwarder.settings import Place
from forwarder.settings.edit import set_value
from tests.disks import unprivileged

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
def place(tmp_path: Path) -> Place:
    file = tmp_path / "forwarder.toml"
    file.write_bytes(TEXT.encode())
    return Place(file, {})


def text(place: Place) -> str:
    return place.file.read_bytes().decode()


def test_one_value_changes_and_nothing_else(place: Place) -> None:
    assert set_value(place, "enabled", value=False)
    assert text(place) == TEXT.replace("enabled   =  true ", "enabled   =  false ")
    assert set_value(place, "enabled", value=True)
    assert text(place) == TEXT


def test_the_same_value_writes_nothing(place: Place) -> None:
    before = place.file.stat()
    assert not set_value(place, "enabled", value=True)
    after = place.file.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_value_that_was_not_there_is_added_where_it_belongs(place: Place) -> None:
    place.file.write_text("# mine\n\n[destination]\nevent_bus = 'b'  # kept\n")
    set_value(place, "enabled", value=False)
    set_value(place, "destination.concurrency", value=4)
    set_value(place, "run.log_level", value="debug")
    lines = text(place).splitlines()
    assert lines.index("enabled = false") < lines.index("[destination]") < lines.index("concurrency = 4")
    assert lines.index("[run]") < lines.index('log_level = "debug"')
    assert lines[0] == "# mine"
    assert "event_bus = 'b'  # kept" in lines


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_line_endings_stay(place: Place, ending: str) -> None:
    place.file.write_bytes(f"# a{ending or chr(10)}enabled = true{ending}".encode())
    set_value(place, "enabled", value=False)
    assert place.file.read_bytes() == f"# a{ending or chr(10)}enabled = false{ending}".encode()


def test_a_link_is_followed_and_stays(place: Place, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "forwarder.toml"
    link.symlink_to(place.file)
    set_value(Place(link, {}), "enabled", value=False)
    assert link.is_symlink()
    assert "false" in text(place)


def test_the_mode_stays(place: Place) -> None:
    place.file.chmod(0o640)
    set_value(place, "enabled", value=False)
    assert place.file.stat().st_mode & 0o777 == 0o640


def test_what_the_environment_overrides_is_told_and_not_edited(place: Place) -> None:
    overridden = Place(place.file, {"FORWARDER_ENABLED": "true"})
    with pytest.raises(SettingsError, match="FORWARDER_ENABLED") as raised:
        set_value(overridden, "enabled", value=False)
    assert raised.value.hint
    assert text(place) == TEXT


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings file"):
        set_value(Place(tmp_path / "none.toml", {}), "enabled", value=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"enabled = tru", b"\xff", b"[destination]\n[destination]\n", b"destination = 7\n"]
)
def test_a_file_that_is_no_toml_is_left_as_it_is(place: Place, content: bytes) -> None:
    place.file.write_bytes(content)
    with pytest.raises(SettingsError):
        set_value(place, "destination.concurrency", value=4)
    assert place.file.read_bytes() == content


def test_a_read_only_file_is_told() -> None:

    with TemporaryDirectory() as folder:
        file = Path(folder) / "forwarder.toml"
        file.write_text(TEXT)
        file.chmod(0o444)
        file.parent.chmod(0o777)
        with unprivileged(), pytest.raises(SettingsError, match="read-only") as raised:
            set_value(Place(file, {}), "enabled", value=False)
        assert raised.value.hint
        assert file.read_text() == TEXT
