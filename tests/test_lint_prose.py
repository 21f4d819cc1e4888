"""The prose check reports fragments, banned words and long test names, with their lines."""

import pytest

from tests.lint_prose import checked_files, file_problems

FUNCTION = 'def run() -> None:\n    """{}"""\n'
CODE = "forwarder/example.py"


def problems(source: str, name: str = CODE) -> list[str]:
    return [each.removeprefix(f"{name}:") for each in file_problems(name, source)]


@pytest.mark.parametrize(
    "docstring",
    ["Return the entries.", "Dead-letter an entry.", "Process a page.", "Raise LedgerError if it is locked."],
)
def test_function_docstring_with_verb_is_accepted(docstring: str) -> None:
    assert problems(FUNCTION.format(docstring)) == []


@pytest.mark.parametrize(
    "docstring",
    ["Returns the entries.", "The entries.", "`path` is a file.", "Reading a page.", "How long to wait.", "A page."],
)
def test_function_docstring_without_verb_is_reported(docstring: str) -> None:
    (problem,) = problems(FUNCTION.format(docstring))
    assert problem.startswith("2: a docstring begins with")


@pytest.mark.parametrize("word", ["What", "Who", "Whoever", "Where", "Whether", "Of", "Those", "That", "As", "None"])
def test_sentence_with_forbidden_opening_is_reported(word: str) -> None:
    for docstring in (f"{word} is left.", f"Return it. {word} is left.", f"Return it.\n\n    {word} is left."):
        assert any(f'a sentence begins with "{word}"' in each for each in problems(FUNCTION.format(docstring)))


def test_abbreviation_does_not_end_a_sentence() -> None:
    assert problems(FUNCTION.format("Return a value, e.g. None.")) == []


def test_class_and_module_docstrings_may_begin_with_an_article() -> None:
    assert problems('"""A ledger."""\n\n\nclass Ledger:\n    """The ledger of one process."""\n') == []
    assert problems('"""Reading a ledger."""\n') == [
        '1: a docstring begins with "Reading", not with a verb or "A/An/The"'
    ]


@pytest.mark.parametrize(
    "text",
    [
        "the bus told us",
        "it said so",
        "begin anew",
        "for whoever asks",
        "the mend",
        "pay heed",
        "a word of it",
        "two doors",
        "the rooms",
        "there is none",
        "is owed",
        "take a look",
        "it restarts by itself",
        "all but for one",
        "it waits, for there is nothing",
    ],
)
def test_banned_words_are_reported_in_every_kind_of_text(text: str) -> None:
    assert len(problems(f"# {text}\n")) == 1
    assert len(problems(f'LIMIT = 1\n"""{text}"""\n')) == 1
    assert len(problems(f'log.info("{text}")\n')) == 1
    assert len(problems(f"- {text}\n", "docs/page.md")) == 1
    assert len(problems(f"demo: setup  ## {text}\n", "Makefile")) == 1
    assert len(problems(f"  Description: {text}\n", "infra/bus.yaml")) == 1


def test_code_is_not_prose() -> None:
    assert problems("is_none = told is None\ndoors = rooms\n") == []
    assert problems("```\ntold\n```\n`told`\n", "docs/page.md") == []
    assert problems('assert answer == "he told us"\n', "tests/test_example.py") == []


def test_problem_names_the_line_within_a_text() -> None:
    docstring = 'def run() -> None:\n    """Return it.\n\n    It was\n    told.\n    """\n'
    assert [each.split(":")[0] for each in problems(docstring)] == ["5"]
    assert [each.split(":")[0] for each in problems("a = 1\n# one\n# it was told\n")] == ["3"]


def test_comment_that_spans_lines_is_one_text() -> None:
    assert problems("# The result is not\n# None here.\n") == []


def test_rules_for_verbs_do_not_apply_to_tests() -> None:
    source = 'def test_run() -> None:\n    """A crash loses nothing."""\n'
    assert problems(source, "tests/test_example.py") == []


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_test_name_over_60_characters_is_reported(kind: str) -> None:
    source = "class TestLedger:\n    {} test_{}() -> None: ...\n"
    assert problems(source.format(kind, "a" * 55), "tests/test_example.py") == []
    assert problems(source.format(kind, "a" * 56), "tests/test_example.py") == [
        "2: a test name has 61 characters, more than 60"
    ]
    assert problems(f"{kind} wait_for_{'a' * 60}() -> None: ...\n", "tests/example.py") == []


def test_all_packages_are_checked() -> None:
    assert {"forwarder/model.py", "tests/reality/test_credentials.py", "README.md"} <= set(checked_files([]))
