"""A check of the prose: docstring openings, banned words in code, comments, messages and Markdown, and test names.

Run it as `python -m tests.lint_prose [PATH …]`. Without a path, it checks all. It prints each
finding as `file:line: problem`, and exits with 1 if there are any.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

CHECKED = ("forwarder", "tests", "infra", "docs", ".ci", "Makefile", "pyproject.toml", "*.md")

MAX_TEST_NAME_CHARACTERS = 60
"""A longer name of a test is a sentence, which belongs in the docstring."""

SUFFIXES = frozenset(["", ".md", ".py", ".service", ".sh", ".toml", ".yaml", ".yml"])
"""The suffixes of checked files. Files without a suffix are scripts and makefiles."""

BANNED = {
    r"told|said|anew|whoever": "use plain words",
    r"mend(?:s|ed|ing)?|heed(?:s|ed|ing)?": "write repair, hint or verify",
    r"(?:[Aa]|the|each|every|last|first|next|one|another|second) looks?": "write check",
    r"word of": "name the thing",
    r"doors?|rooms?": "write endpoint or space",
    r"(?-i:is none)": "write that nothing is there",
    r"ow(?:e|es|ed|ing)(?! to)": "write pending or requeue",
    r"by (?:itself|themselves)": "write automatically or alone",
    r"but for": "write except",
    r"(?<=, )for (?:it|they|he|there|nobody|nothing)": "write because",
}
_BANNED = re.compile("|".join(rf"\b(?P<b{index}>{words})\b" for index, words in enumerate(BANNED)), re.IGNORECASE)

_SENTENCE_START = r"(?:\A\s*|(?<!e\.g)(?<!i\.e)[.!?][\"')]?\s+|\n\s*\n\s*(?:[-*] )?)"
_FRAGMENT = re.compile(_SENTENCE_START + r"(?P<word>What|Who|Whoever|Where|Whether|Of|Those|That|As|None)\b(?!\.\w)")

_ARTICLES = frozenset(["A", "An", "The"])
_NO_VERBS = frozenset(
    """
    After All Any As At Before Beside Between Both By Each Every Everything For From How If In It Its Like Many More
    Most No Nobody Not Nothing On One Only Out Some This These To Two Under Until Up What When Which While Why With
    Without Zero
    """.split()  # noqa: SIM905  # a list of words reads better without quotes
)


class Prose(NamedTuple):
    """A text for people: where it begins, and its kind."""

    line: int
    text: str
    kind: str  # "function", "type" (a class or module), "note" (another docstring), "comment", "message" or "page"


def python_prose(source: str, *, messages: bool) -> Iterator[Prose]:
    """Yield docstrings, comments and, if asked, string literals of more than one word."""
    tree = ast.parse(source)
    docstrings: set[ast.expr] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for index, statement in enumerate(body):
            if _is_text(statement):
                docstrings.add(statement.value)
                yield Prose(statement.lineno, statement.value.value, _kind(node, index))
    if messages:
        for node in ast.walk(tree):
            if node in docstrings or not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            if len(node.value.split()) > 1:
                yield Prose(node.lineno, node.value, "message")
    yield from _comments(source)


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _kind(node: ast.AST, index: int) -> str:
    if index > 0:
        return "note"
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return "note" if node.name.startswith("test_") else "function"
    return "type" if isinstance(node, (ast.ClassDef, ast.Module)) else "note"


def _comments(source: str) -> Iterator[Prose]:
    """Yield each comment. Comments on lines of their own that follow each other are one text."""
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip("# ")
        alone = token.line.lstrip().startswith("#")
        if block and alone and token.start[0] == last + 1:
            block.append(text)
        else:
            if block:
                yield Prose(start, "\n".join(block), "comment")
            block, start = [text], token.start[0]
        last = token.start[0] if alone else -1
    if block:
        yield Prose(start, "\n".join(block), "comment")


def page_prose(source: str) -> Iterator[Prose]:
    """Yield the lines of a Markdown page outside its code blocks."""
    is_code = False
    for number, line in enumerate(source.splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield Prose(number, re.sub(r"`[^`]*`", "``", line), "page")


def script_prose(source: str) -> Iterator[Prose]:
    """Yield the comments of a script or template, its descriptions, and the help texts of a makefile."""
    for number, line in enumerate(source.splitlines(), 1):
        found = re.search(r"(?:^|\s)#+ (.*)|escription\"?[:=]\s(.*)|^(?!.*[{}])\s+(?:summary|description): (.*)", line)
        if found:
            yield Prose(number, next(group for group in found.groups() if group is not None), "page")


def problems(prose: Prose, *, strict: bool) -> Iterator[tuple[int, str]]:
    """Yield the line and description of each problem. `strict` demands that docstrings begin with a verb."""
    for found in _BANNED.finditer(prose.text):
        advice = list(BANNED.values())[int(str(found.lastgroup)[1:])]
        yield prose.line + prose.text.count("\n", 0, found.start()), f'"{found[0]}": {advice}'
    if prose.kind in ("message", "page"):
        return
    for found in _FRAGMENT.finditer(prose.text):
        line = prose.line + prose.text.count("\n", 0, found.start("word"))
        yield line, f'a sentence begins with "{found["word"]}"'
    if strict and prose.kind in ("function", "type"):
        opening = prose.text.split(maxsplit=1)[0] if prose.text.strip() else ""
        if _FRAGMENT.match(prose.text) is None and not _is_opening(opening, prose.kind):
            expected = "a verb" if prose.kind == "function" else 'a verb or "A/An/The"'
            yield prose.line, f'a docstring begins with "{opening}", not with {expected}'


def _is_opening(word: str, kind: str) -> bool:
    if word in _ARTICLES:
        return kind == "type"
    is_third_person = word.endswith("s") and not word.endswith("ss")
    is_verb = re.fullmatch(r"[A-Z][a-z]+(?:-[a-z]+)?", word) is not None and not word.endswith("ing")
    return is_verb and not is_third_person and word not in _NO_VERBS


def long_test_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and description of each name of a test that is too long."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or not node.name.startswith("test_"):
            continue
        if len(node.name) > MAX_TEST_NAME_CHARACTERS:
            yield node.lineno, f"a test name has {len(node.name)} characters, more than {MAX_TEST_NAME_CHARACTERS}"


def file_problems(name: str, source: str) -> list[str]:
    """Return the problems of one file as `file:line: problem`."""
    is_program = name.startswith("forwarder/")
    suffix = Path(name).suffix
    if suffix == ".py" or source.startswith("#!/opt/forwarder/bin/python"):
        texts = python_prose(source, messages=is_program)
    elif suffix == ".md":
        texts = page_prose(source)
    else:
        texts = script_prose(source)
    found = {problem for prose in texts for problem in problems(prose, strict=is_program)}
    if suffix == ".py" and name.startswith("tests/"):
        found.update(long_test_names(source))
    return [f"{name}:{line}: {problem}" for line, problem in sorted(found)]


def checked_files(paths: list[str]) -> Iterator[str]:
    """Yield the names of the files to check: those of `paths`, or all."""
    for top in (top for pattern in paths or CHECKED for top in sorted(ROOT.glob(pattern))):
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            name = file.relative_to(ROOT).as_posix()
            if file.is_file() and file.suffix in SUFFIXES:
                yield name


def main(paths: list[str]) -> int:
    """Print all problems, and return the exit code."""
    found = [each for name in checked_files(paths) for each in file_problems(name, (ROOT / name).read_text("utf-8"))]
    sys.stdout.writelines(f"{each}\n" for each in found)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
