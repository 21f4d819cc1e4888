"""The AWS SDK for JavaScript as a contestant: npm installs it, and node runs it. Both programs are optional."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.comparison import Turn
from tests.benchmarks.line_process import start_process

PACKAGE = "@aws-sdk/client-eventbridge@3"
PROGRAM = Path(__file__).with_name("put_events.cjs")
NPM_SECONDS = 120.0


def install(folder: Path) -> tuple[Path | None, str]:
    """Return the directory of its modules, or None and the reason."""
    modules = folder / "node" / "node_modules"
    if (modules / "@aws-sdk" / "client-eventbridge").is_dir():
        return modules, ""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None, "node or npm is not installed"
    modules.parent.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--prefix", str(modules.parent), "--no-audit", "--no-fund", "--silent", PACKAGE]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=NPM_SECONDS)  # noqa: S603  # a constant name
    except (subprocess.SubprocessError, OSError) as error:
        return None, f"npm cannot install it: {type(error).__name__}"
    return modules, ""


@contextmanager
def start(modules: Path, work: dict[str, object]) -> Iterator[Turn]:
    """Start one node process for all turns. `work` is the argument that `put_events.cjs` describes."""
    node = shutil.which("node") or "node"
    env = {"PATH": os.environ["PATH"], "NODE_PATH": str(modules), "NODE_NO_WARNINGS": "1"}
    with start_process([node, str(PROGRAM), json.dumps(work)], env=env) as process:
        yield lambda seconds: float(process.request(str(seconds)))
