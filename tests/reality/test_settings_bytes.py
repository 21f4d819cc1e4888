"""The settings file in the encodings and line ends of other systems' editors and shells."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from forwarder.errors import SettingsError
from forwarder.settings import ConfigSource, load
from forwarder.settings.edit import set_value, set_values
from forwarder.settings.reference import template

TEXT = '# Ours: ü.\nenabled = true\n\n[destination]\nevent_bus = "failures"\nregion = "eu-central-1"\n'
MARK = codecs.BOM_UTF8


def config_source(folder: Path, content: bytes) -> ConfigSource:
    file = folder / "forwarder.toml"
    file.write_bytes(content)
    return ConfigSource(file, {})


@pytest.mark.parametrize("mark", [b"", MARK, MARK * 2])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_byte_order_mark_and_line_ends_are_read(tmp_path: Path, mark: bytes, line_end: str) -> None:
    assert (
        load(config_source(tmp_path, mark + TEXT.replace("\n", line_end).encode())).destination.event_bus == "failures"
    )


@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_edit_keeps_byte_order_mark_and_line_ends(tmp_path: Path, mark: bytes, line_end: str) -> None:
    """The edit changes a line, and adds a section."""
    here = config_source(tmp_path, mark + TEXT.replace("\n", line_end).encode())
    assert set_value(here, "enabled", value=False)
    assert here.file.read_bytes() == mark + TEXT.replace("true", "false").replace("\n", line_end).encode()
    assert set_values(here, {"source.workflows": ["a"], "event.source": "x"})
    content = here.file.read_bytes()
    assert content.startswith(mark + b"# Ours")
    assert content.count(b"\n") == content.count(line_end.encode())
    assert load(here).event.source == "x"
    assert not set_value(here, "enabled", value=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TEXT.encode("utf-16"), "UTF-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "UTF-16"),
        (TEXT.encode("utf-16-le"), "UTF-16"),
        (TEXT.encode("utf-32"), "UTF-32"),
        (TEXT.encode("latin-1"), "line 1 holds a character of another encoding"),
        (b"enabled = true\n# \xfc\n", "line 2"),
        (b"enabled = true\n\n# \0 is here, in a text that is otherwise one\n", "zero byte in line 3"),
        (bytes(100), "zero byte in line 1"),
    ],
)
def test_other_encoding_is_named_with_its_line(tmp_path: Path, content: bytes, words: str) -> None:
    here = config_source(tmp_path, content)
    for work in (lambda: load(here), lambda: set_value(here, "enabled", value=False)):
        with pytest.raises(SettingsError, match=words) as raised:
            work()
        assert "UTF-8" in raised.value.hint
    assert here.file.read_bytes() == content


def test_save_works_on_the_file_of_init(tmp_path: Path) -> None:
    """The page saves several settings at once, which must be valid together with `format = 1`."""
    here = config_source(tmp_path, template().encode())
    values = {"destination.event_bus": "failures", "destination.region": "eu-west-1", "source.workflows": ["a"]}
    assert set_values(here, values)
    assert load(here).destination.region == "eu-west-1"
    assert "format = 1" in here.file.read_text()
