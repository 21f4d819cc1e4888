"""The AWS SDK for JavaScript as a peer: fetched by name with npm, and run by node. Both are optional."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.comparison import Turn
from tests.benchmarks.line_process import peer

PACKAGE = "@aws-sdk/client-eventbridge@3"
PROGRAM = Path(__file__).with_name("put_events.cjs")
NPM_WITHIN = 120.0
"""Seconds."""


def fetched(folder: Path) -> tuple[Path | None, str]:
    """Where its modules are, and where there are none, why not."""
    modules = folder / "node" / "node_modules"
    if (modules / "@aws-sdk" / "client-eventbridge").is_dir():
        return modules, ""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None, "there is no node or no npm here"
    modules.parent.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--prefix", str(modules.parent), "--no-audit", "--no-fund", "--silent", PACKAGE]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=NPM_WITHIN)  # noqa: S603  # a name of ours
    except (subprocess.SubprocessError, OSError) as error:
        return None, f"npm could not fetch it: {type(error).__name__}"
    return modules, ""


@contextmanager
def javascript(modules: Path, work: dict[str, object]) -> Iterator[Turn]:
    """One node process for all its turns. `work` is what `put_events.cjs` says."""
    node = shutil.which("node") or "node"
    env = {"PATH": os.environ["PATH"], "NODE_PATH": str(modules), "NODE_NO_WARNINGS": "1"}
    with peer([node, str(PROGRAM), json.dumps(work)], env=env) as process:
        yield lambda seconds: float(process.ask(str(seconds)))
