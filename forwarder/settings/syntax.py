"""The causes of a syntax error in the settings file, such as the syntax of another format or a copying mistake.

The parser names a line and a column. These patterns name the cause. No function here returns any text of the file: a
secret may have been typed into it.
"""

import re

LINE = re.compile(r"at line (?P<line>[0-9]+)")

_WHOLE_FILE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^(?:<{7}|={7}|>{7}|\|{7})", re.MULTILINE), "it holds a merge conflict: keep one of the two sides"),
    (re.compile(r"\A\s*```|^```\s*$", re.MULTILINE), "it holds the ``` of a Markdown page: remove these lines"),
    (re.compile(r"\A\s*(?:cat|tee|echo|printf)\s|^EOF\s*$", re.MULTILINE), "it holds a shell command: keep its text"),
    (re.compile(r"\A\s*\{(?![%{#])"), "it is JSON: write [section] and key = value"),
    (
        re.compile(r"\A(?:\s*#.*\n|\s*\n)*\s*(?:---\s*\n|\w+:[ \t]*(?:\n|\S))"),
        "it is YAML: write [section] and key = value",
    ),
    (re.compile(r"\{%.*%\}|=\s*\{\{"), "it is a template that was not rendered: deploy the rendered file"),
)
"""Patterns that are searched in the whole file, each with the cause and a hint. The first that occurs is used."""

_QUOTED = r"(?:\"(?:[^\"\\]|\\.)*\"|'[^']*')"

_LINE: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"[\u2018-\u201f\u00ab\u00bb\u2032\u2033]"),
        'has typographic quotation marks: write straight ones, "…"',
    ),
    (
        re.compile(r"[\u00a0\u2000-\u200f\u2028-\u202f\u2060\u3000\ufeff\u00ad]"),
        "has a space or an invisible character of a web page: write it again by hand",
    ),
    (re.compile(r"&(?:quot|amp|lt|gt|#\d+);"), "has characters written as in HTML: write them plainly"),
    (
        re.compile(r"=\s*\"[^\"]*\\(?![btnfr\"\\eu]|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2})"),
        "has a backslash: write 'single quotes'",
    ),
    (re.compile(r"=\s*\\[\"']"), "has a backslash before a quotation mark: leave the backslash out"),
    (re.compile(r"^\s*(?:;|//|--|/\*)"), "has a comment of another format: begin a comment with #"),
    (re.compile(r"^\s*(?:export|set)\s+\w"), "is a shell command: write key = value"),
    (re.compile(r"^\s*-\s"), 'is an item of a YAML list: write a list as ["a", "b"]'),
    (re.compile(r"^\s*[\w.-]+\s*:"), "has a colon between key and value: write key = value"),
    (re.compile(r"^\s*[\w.-]+\s*(?:=>|:=|==)"), "has another sign between key and value: write key = value"),
    (re.compile(r"^\s*[\w.-]+\s*=\s*(?:#.*)?$"), 'has no value: write one, or "" for none'),
    (
        re.compile(r"^\s*[\w.-]+\s*=\s*(?:True|False|TRUE|FALSE|[Yy]es|[Nn]o|[Oo]n|[Oo]ff|YES|NO)\s*(?:#.*)?$"),
        "has another word for yes or no: write true or false",
    ),
    (re.compile(r"^\s*[\w.-]+\s*=\s*(?:None|null|nil|NULL|~)\s*(?:#.*)?$"), "has no value: remove the line"),
    (
        re.compile(rf"^\s*[\w.-]+\s*=\s*(?:{_QUOTED}|true|false|[0-9.]+)\s*[,;]"),
        "has a comma or a semicolon at its end: remove it",
    ),
    (
        re.compile(rf"^\s*[\w.-]+\s*=\s*{_QUOTED}\s*(?://|;|--)"),
        "has a comment of another format: begin a comment with #",
    ),
    (
        re.compile(r"^\s*[\w.-]+\s*=\s*[0-9]+(?:\.[0-9]+)?\s*[A-Za-z]+"),
        'has a number with a unit: put it in quotation marks, "30s"',
    ),
    (re.compile(r"^\s*[\w.-]+\s*=\s*[\"'](?:[^\"']*)$"), "has a quotation mark that is not closed"),
    (re.compile(r"^\s*[\w.-]+\s*=\s*[^\s\"'\[{#0-9+-]"), "has a text without quotation marks: put it in them"),
    (re.compile(r"^\s*\[[^\]]*$"), "has a bracket that is not closed"),
    (re.compile(r"^\s*[\w.-]+\s*$"), "has a key without a value: write key = value"),
)
"""Patterns that are searched in the line that the parser names, with cause and hint. The first match is used."""

_NAME = re.compile(r"\s*(?P<name>\[\s*[\w.-]+\s*\]|[\w.-]+\s*=)")


def cause_of(text: str, problem: str) -> str:
    """Return the cause of a syntax error with a hint, or an empty text if no pattern matches.

    `text` is the file, and `problem` the parser's message, which names a line.
    """
    if cause := next((cause for pattern, cause in _WHOLE_FILE if pattern.search(text)), ""):
        return cause
    lines = text.split("\n")
    found = LINE.search(problem)
    number = min(int(found["line"]), len(lines)) if found else len(lines)
    while number > 1 and not lines[number - 1].strip():  # the parser stops behind an unfinished value
        number -= 1
    line = lines[number - 1]
    if "overwrite" in problem or "twice" in problem:
        return f"line {number} {_duplicate(lines[: number - 1], line)}"
    cause = next((cause for pattern, cause in _LINE if pattern.search(line)), "")
    return f"line {number} {cause}" if cause else ""


def _duplicate(before: list[str], line: str) -> str:
    """Return the end of a sentence about a line that repeats a key or a section. It names the earlier line if found."""
    found = _NAME.match(line)
    earlier = [each for each, text in enumerate(before, 1) if found and _same_name(text, found)]
    repeated = f" of line {earlier[-1]}" if earlier else ""
    return f"repeats a key or a section{repeated}: keep one of them"


def _same_name(text: str, found: re.Match[str]) -> bool:
    other = _NAME.match(text)
    return other is not None and other["name"] == found["name"]
