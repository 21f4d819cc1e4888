"""The steps of a Dockerfile, run in a folder instead of images, without a container engine.

RUN and COPY are executed, with the images' absolute paths moved into the folder. The Python of each stage is a new
virtual environment. The base image, the order of layers, users, ENV, USER, VOLUME and HEALTHCHECK are not tested.
"""

import os
import re
import shutil
import subprocess
import venv
from dataclasses import dataclass, field
from pathlib import Path

RELOCATED_PATHS = ("/src", "/build", "/opt", "/var/lib")
SKIPPED_COMMANDS = ("groupadd ",)
"""The commands that would create users on this machine. For the same reason, `install -o` loses its owner."""


@dataclass(frozen=True)
class Instruction:
    word: str
    text: str


def parse_instructions(dockerfile: Path) -> list[Instruction]:
    text = re.sub(r"\\\n\s*", "", dockerfile.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [Instruction(*line.split(" ", 1)) for line in lines]


@dataclass
class Images:
    """The folder in which the steps run. `skipped` names the steps that were skipped."""

    folder: Path
    context: Path
    skipped: list[str] = field(default_factory=list)

    def build(self, dockerfile: Path) -> None:
        python = Path()
        for number, step in enumerate(parse_instructions(dockerfile)):
            match step.word:
                case "FROM":
                    python = self._base(number)
                case "COPY" if not step.text.startswith("--from"):
                    self._copy(step.text.split())
                case "RUN" if step.text.startswith(SKIPPED_COMMANDS):
                    self.skipped.append(step.text)
                case "RUN":
                    self._run(step.text, python)

    def relocated(self, text: str) -> str:
        roots = "|".join(RELOCATED_PATHS)
        return re.sub(rf"(?<![\w/.])({roots})(?=[/\s]|$)", lambda found: f"{self.folder}{found[1]}", text)

    def _base(self, number: int) -> Path:
        base = self.folder / f"base-{number}"
        venv.create(base, with_pip=True, symlinks=True)
        return base / "bin"

    def _copy(self, arguments: list[str]) -> None:
        *sources, target = arguments
        for source in sources:
            found, destination = self.context / source, Path(self.relocated(target))
            if found.is_dir():
                shutil.copytree(found, destination, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                destination.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, destination)

    def _run(self, command: str, python: Path) -> None:
        command = re.sub(r" -o \d+ -g \d+", "", self.relocated(command))
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environment = kept | {"PATH": f"{python}:/usr/bin:/bin"}
        done = subprocess.run(  # noqa: S603  # a command of the Dockerfile
            ["/bin/sh", "-euc", command], capture_output=True, text=True, check=False, env=environment, cwd=self.folder
        )
        if done.returncode:
            raise AssertionError(f"{command}\n{done.stdout}{done.stderr}")
