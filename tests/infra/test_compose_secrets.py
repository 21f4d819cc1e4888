"""The documented commands for compose.secrets.yaml create files that its container can start with.

A script replaces `docker`. It resolves the secret as Compose does, and runs the program with the service's environment.
"""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from forwarder.settings import ConfigSource, load
from forwarder.vault import Vault
from tests.fakes.alloy import API_KEY
from tests.harness.installation import ROOT

FILE = Path("infra/container/compose.secrets.yaml")
TEXT = (ROOT / FILE).read_text()

DOCKER = f"""\
#!{sys.executable}
import os, re, shutil, subprocess, sys
from pathlib import Path

import yaml

words = sys.argv[1:]
assert words[:2] == ["compose", "-f"], words
file, verb, root = Path(words[2]), words[3], Path.cwd()
if verb == "run":
    assert words[4:6] == ["--rm", "forwarder"], words
    compose = yaml.safe_load(file.read_text())
    service = compose["services"]["forwarder"]
    default = re.fullmatch(r"\\${{\\w+:-(.+)}}", compose["secrets"]["master-key"]["file"])[1]
    (root / "mounted").mkdir(exist_ok=True)
    shutil.copy(file.parent / default, root / "mounted" / service["secrets"][0]["target"])
    environment = service["environment"] | {{"CREDENTIALS_DIRECTORY": str(root / "mounted")}}
    program = [sys.executable, "-m", "forwarder", "-c", str(root / "forwarder.toml"), *words[6:]]
    sys.exit(subprocess.run(program, env=os.environ | environment).returncode)
"""


def documented_commands() -> str:
    """Return the block of docs/operations.md that names the file."""
    text = (ROOT / "docs" / "operations.md").read_text()
    (block,) = [each for each in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if str(FILE) in each]
    return str(block)


def environment_with_values() -> dict[str, str]:
    """Return the service's environment with its commented lines active."""
    _, _, rest = TEXT.partition("    environment:\n")
    block, _, _ = rest.partition("    secrets:\n")
    active = re.sub(r"^( +)# (FORWARDER_\w+: )", r"\1\2", block, flags=re.MULTILINE)
    return dict(yaml.safe_load(textwrap.dedent(active)))


def test_compose_secrets_commands_create_a_complete_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE).parent.mkdir(parents=True)
    shutil.copy(ROOT / FILE, tmp_path / FILE)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    subprocess.run(  # noqa: S603  # the commands of the docs
        ["bash", "-euo", "pipefail", "-c", documented_commands()],  # noqa: S607  # the shell of the reader
        input=API_KEY.encode(),
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    folder = tmp_path / FILE.parent / "secrets"
    assert (folder.stat().st_mode & 0o777, (folder / "master-key").stat().st_mode & 0o777) == (0o700, 0o444)
    variables = environment_with_values() | {"CREDENTIALS_DIRECTORY": str(tmp_path / "mounted")}
    source = ConfigSource(tmp_path / "forwarder.toml", variables)
    settings = load(source)
    assert settings.destination.event_bus
    assert settings.source.workflows
    assert Vault.open(source, settings).set_at("alloy-api-key")


def test_compose_secrets_folder_is_not_committed() -> None:
    assert f"{FILE.parent}/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
