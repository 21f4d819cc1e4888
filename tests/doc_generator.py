"""The generated parts of docs/, written from the code: settings, commands, layers, modules, ledger and capacity.

`python -m tests.doc_generator` writes them; `tests/test_readme.py` fails if one is out of date.
"""

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from typer.main import get_command

from forwarder.cli import app
from forwarder.ledger import Ledger
from forwarder.ledger.sqlite import SqliteLedger
from forwarder.settings.reference import table
from tests.benchmarks.bench_capacity import TABLES as CAPACITY_TABLES
from tests.benchmarks.bench_capacity import markdown as capacity_table

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "forwarder"
DOCS = ROOT / "docs"


def commands() -> str:
    """Return a section for each command: its usage, its help and its options."""
    return "\n".join(_command_section(name, command) for name, command in sorted(leaf_commands().items()))


def leaf_commands() -> dict[str, Any]:
    """Return every command by its full name, such as `keys set`."""
    found: dict[str, Any] = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # the application is a group
        if inner := getattr(command, "commands", None):
            found |= {f"{name} {each}": inner[each] for each in inner}
        else:
            found[name] = command
    return found


def layers() -> str:
    """Return the layers that import-linter enforces, the highest first."""
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return "\n".join(["```", *contract["layers"], "```", ""])


def modules() -> str:
    """Return a table for the root and one for each package: every module with the first sentence of its docstring."""
    folders = [PACKAGE, *sorted({file.parent for file in PACKAGE.rglob("*.py")} - {PACKAGE})]
    return "\n".join(_package_section(folder) for folder in folders)


def ledger() -> str:
    """Return the use-case classes of the SQLite ledger with the operations of the protocol that each implements."""
    rows = ["| class | module | operations |", "|---|---|---|"]
    operations = {name for name, _ in inspect.getmembers(Ledger, inspect.isfunction) if not name.startswith("_")}
    for store in reversed(SqliteLedger.__mro__):
        if own := [f"`{name}`" for name in vars(store) if name in operations and store is not Ledger]:
            file = Path(inspect.getfile(store)).relative_to(ROOT)
            rows.append(f"| `{store.__name__}` | `{file}` | {', '.join(own)} |")
    return "\n".join([*rows, ""])


def blocks() -> dict[str, dict[str, Callable[[], str]]]:
    """Return what generates each block of each file."""
    return {
        "settings.md": {"settings": table},
        "commands.md": {"commands": commands},
        "architecture.md": {"layers": layers, "modules": modules, "ledger": ledger},
        "capacity.md": {name: partial(capacity_table, name) for name in CAPACITY_TABLES},
    }


def generated(file: str) -> str:
    """Return the text of a file of docs/ with its generated blocks as they are today."""
    text = (DOCS / file).read_text()
    for name, generate in blocks()[file].items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->\n"
        before, _, rest = text.partition(begin)
        _, marker, after = rest.partition(end)
        if not marker:
            raise ValueError(f"docs/{file} has no block {name}")
        text = f"{before}{begin}\n{generate()}\n{end}{after}"
    return text


def first_sentence(file: Path) -> str:
    """Return the first sentence of a module's docstring, or an empty text."""
    paragraph = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[.?!]) (?=[A-Z`])", paragraph)[0]


def _command_section(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    usage = " ".join([f"forwarder {name}", *map(_usage, arguments), *(["[OPTIONS]"] if options else [])])
    lines = [f"### {name}", "", "```", usage, "```", ""]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        text = " ".join(paragraph.split())
        example = re.fullmatch(r"Example: (.+)", text)
        lines += [f"Example: `{example[1]}`" if example else text, ""]
    if described := [parameter for parameter in (*arguments, *options) if parameter.help]:
        lines += ["| parameter | meaning |", "|---|---|"]
        lines += [f"| {_spelling(parameter)} | {_cell(parameter)} |" for parameter in described]
        lines.append("")
    return "\n".join(lines)


def _usage(argument: Any) -> str:
    """Return an argument as the usage line of `--help` has it: an optional one is in brackets."""
    return _metavar(argument) if argument.required else f"[{_metavar(argument)}]"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`"
    spelled = ", ".join(f"`{option}`" for option in parameter.opts)
    return spelled if parameter.is_flag else f"{spelled} *value*"


def _cell(parameter: Any) -> str:
    text = " ".join(parameter.help.split()).replace("|", "\\|")
    is_shown = parameter.param_type_name == "option" and not parameter.is_flag and parameter.default not in (None, ())
    return f"{text} Default: `{parameter.default}`." if is_shown else text


def _package_section(folder: Path) -> str:
    title = str(folder.relative_to(ROOT))
    lines = [f"### {title}", ""]
    if folder != PACKAGE and (sentence := first_sentence(folder / "__init__.py")):
        lines += [sentence, ""]
    lines += ["| module | first sentence |", "|---|---|", *_module_rows(folder), ""]
    return "\n".join(lines)


def _module_rows(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.py")):
        if file.name != "__init__.py":
            yield f"| `{file.stem}` | {first_sentence(file).replace('|', chr(92) + '|')} |"


def main() -> None:
    for file in blocks():
        (DOCS / file).write_text(generated(file))
    sys.stdout.write(f"written: {', '.join(f'docs/{file}' for file in blocks())}\n")


if __name__ == "__main__":
    main()
