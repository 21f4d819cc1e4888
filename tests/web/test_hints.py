"""The hints of errors on the page: links to its fields, no command of the terminal, nothing unescaped."""

import ast
import re
from pathlib import Path

import pytest

import forwarder
from forwarder.vault import NAMES
from forwarder.web.hints import page_hint
from forwarder.web.settings_form import FIELDS

PACKAGE = Path(forwarder.__file__).parent

COMMAND = re.compile(r"`forwarder [^`]+`")


def hints_with_commands() -> list[str]:
    """Return each text of the code, outside the command line, that names a command of the terminal."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        if {"cli", "demo"} & set(file.relative_to(PACKAGE).parts):
            continue
        if "`forwarder " not in (code := file.read_text()):  # parsing every file takes a second, in each worker
            continue
        tree = ast.parse(code)
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "aws-access-key-id" for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                text = node.value
            else:
                continue
            found |= {text} if COMMAND.search(text) else set()
    return sorted(found)


@pytest.mark.parametrize("hint", hints_with_commands())
def test_hint_of_the_code_names_no_command_on_the_page(hint: str) -> None:
    assert "`" not in (html := page_hint(hint))
    assert not re.search(r"forwarder (?:\w+ )?(?:keys|check|run|once|init|enable|ledger|dead-letters|web)\b", html)


@pytest.mark.parametrize("name", [*NAMES, *(each.name for each in FIELDS if "." in each.name)])
def test_hint_names_a_field_and_links_to_it(name: str) -> None:
    hint = f"`forwarder keys set {name}`" if name in NAMES else f"correct {name}, then save"

    assert f'href="/settings#{name}"' in page_hint(hint)


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("create it, or correct region", 'Create it, or correct <a href="/settings#destination.region">“Region”</a>'),
        ("install that version or a later one", "Install that version or a later one"),
        ('chmod `a<b` & "c"', "Chmod <code>a&lt;b</code> &amp; &#34;c&#34;"),
        ("rescue it with `forwarder ledger repair`", "Rescue it with the command line of the forwarder"),
        ("the subregion and region_name stay", "The subregion and region_name stay"),
        ("", ""),
    ],
)  # fmt: skip
def test_hint_on_the_page_is_readable_html(hint: str, expected: str) -> None:
    assert page_hint(hint) == expected


def test_hint_that_is_one_command_becomes_a_sentence() -> None:
    assert page_hint("`forwarder keys set alloy-api-key`").startswith('Enter it in <a href="/settings#alloy-api-key">')
