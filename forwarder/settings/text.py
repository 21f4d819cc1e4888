"""The decoding of the settings file, with the byte-order marks and line ends that editors and shells write."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from forwarder import atomicfile
from forwarder.errors import SettingsError

BYTE_ORDER_MARK = "\ufeff"
"""The byte-order mark, which Windows editors and PowerShell write first."""

_OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""The byte-order marks of other encodings. The mark of UTF-32 begins with the one of UTF-16, so it stands first."""

SAVE_AS_UTF8 = "save it as UTF-8, in PowerShell with `Out-File -Encoding utf8`"


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a file, with the byte-order mark and the line end to restore when the file is written.

    `text` is without the mark, and has its original line ends.
    """

    text: str
    mark: str = ""
    line_end: str = "\n"

    def encode(self, text: str) -> bytes:
        """Return another text as bytes, with the mark and the line ends of this one."""
        plain = text.replace("\r\n", "\n") if self.line_end != "\n" else text
        return (self.mark + plain.replace("\n", self.line_end)).encode()


def read(file: Path) -> Text:
    """Return the text of a file. Raise FileNotFoundError if it does not exist.

    Raise SettingsError if it cannot be read or is not UTF-8. The error never holds the content of the file.
    """
    try:
        return decode(atomicfile.read(file), file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read: {error.strerror}", hint="name a settings file with -c, or correct its permissions"
        ) from None


def decode(content: bytes, file: Path) -> Text:
    """Return the text of the bytes. Raise SettingsError if they are not UTF-8."""
    for mark, name in _OTHER_ENCODINGS:
        if content.startswith(mark):
            raise SettingsError(f"{file} is {name}, not UTF-8", hint=SAVE_AS_UTF8)
    if zero := content.find(b"\0") + 1:
        if len(content) < 3 * content.count(b"\0") < 2 * len(content):  # about every other byte of Western text
            raise SettingsError(f"{file} is UTF-16 without a byte-order mark, not UTF-8", hint=SAVE_AS_UTF8)
        line = _line(content, zero - 1)
        raise SettingsError(f"{file} holds a zero byte in line {line}: it is damaged, or no text", hint=SAVE_AS_UTF8)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = _line(content, error.start)
        raise SettingsError(
            f"{file} is not UTF-8: line {line} holds a character of another encoding, such as Latin-1",
            hint=f"type that character again, or {SAVE_AS_UTF8}",
        ) from None
    plain = text.lstrip(BYTE_ORDER_MARK)
    return Text(plain, BYTE_ORDER_MARK if plain != text else "", "\r\n" if _is_crlf(plain) else "\n")


def normalize_line_ends(text: str) -> str:
    """Return the text with line feeds. TOML does not allow a single carriage return, which some editors write."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_crlf(text: str) -> bool:
    """Return whether every line of the text ends with carriage return and line feed."""
    return 0 < text.count("\n") == text.count("\r\n")


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1
