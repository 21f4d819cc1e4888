"""The replacement of unprintable characters in text from outside.

Printable text cannot move a cursor, colour a screen, reorder a line or forge a line.
"""

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, *, keep: str = "") -> str:
    """Return the text on one line, without control, format (bidirectional, zero-width) or unassigned characters.

    Line breaks, tabs and other separators become spaces. Other unprintable characters become U+FFFD. Characters in
    `keep` are not changed.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in keep else _replacement(character) for character in text
    )


def escaped(json: str) -> str:
    """Return the JSON text with its unprintable characters written as `\\uXXXX`, which any JSON reader decodes.

    Line breaks between tokens stay. Strings contain none.
    """
    if json.isprintable():
        return json
    return "".join(
        character if character.isprintable() or character == "\n" else _escape(character) for character in json
    )


def has_control_character(text: str, *, allowed: str = "") -> bool:
    """Return whether a text holds an ASCII control character that is not in `allowed`."""
    return any((character < " " or character == "\x7f") and character not in allowed for character in text)


def _replacement(character: str) -> str:
    is_separator = character in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85" or unicodedata.category(character).startswith("Z")
    return " " if is_separator else REPLACEMENT


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
