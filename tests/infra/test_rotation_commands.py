"""The documented rotations in Kubernetes: the commands work on the mounted files of a pod, and lose no secret.

A script replaces `kubectl`. It runs the command of `exec` here, on folders that replace the mounts of the pod.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from forwarder.settings import ConfigSource, load_local
from forwarder.vault import Vault
from forwarder.vault.master_key import CREDENTIAL
from tests.fakes.alloy import API_KEY
from tests.harness.installation import ROOT, Installation

pytestmark = pytest.mark.long

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

KUBECTL = """\
#!/bin/sh -e
[ "$1 $2 $3" = "exec forwarder-0 --" ] || exit 0
shift 3
for word do
  shift
  set -- "$@" "$(printf %s "$word" | sed "s|/run/credentials|$PWD/credentials|g; s|/var/lib/forwarder|$PWD/state|g")"
done
[ "$1 $2" != "forwarder check" ] || exit 0
exec "$@"
"""


def section(heading: str) -> str:
    return OPERATIONS.split(f"### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]


def blocks(text: str) -> list[str]:
    return re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_block(folder: Path, block: str, environ: dict[str, str]) -> str:
    return subprocess.run(  # noqa: S603  # the commands of the docs
        ["bash", "-euo", "pipefail", "-c", block],  # noqa: S607  # the shell of the reader
        env={"HOME": str(folder), "PATH": f"{folder / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)} | environ,
        input=API_KEY,
        cwd=folder,
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
    ).stdout


def create_script(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_script(tmp_path / "bin" / "kubectl", KUBECTL)
    create_script(tmp_path / "bin" / "forwarder", f'#!/bin/sh\nexec "{sys.executable}" -m forwarder "$@"\n')
    return tmp_path


def test_master_key_of_one_pod_is_rotated_as_documented(folder: Path) -> None:
    for name in ("state", "credentials", "settings"):
        (folder / name).mkdir()
    pod = Installation(folder / "settings", vault={"file": str(folder / "state" / "forwarder.keys")})
    credential = folder / "credentials" / CREDENTIAL
    pod.create_vault()
    pod.master_key_file.rename(credential)
    environ = {"CREDENTIALS_DIRECTORY": str(credential.parent), "FORWARDER_CONFIG": str(pod.settings_file)}
    (block,) = blocks(section("The master key of one pod in Kubernetes"))
    before_apply, apply, after = block.partition("kubectl apply")
    assert apply
    old_key, new_key = credential.read_text(), run_block(folder, before_apply, environ).splitlines()[-1]
    assert new_key != old_key.strip()
    credential.write_text(new_key + "\n")
    run_block(folder, after.partition("\n")[2], environ)
    source = ConfigSource(pod.settings_file, environ)
    assert Vault.open(source, load_local(source)).set_at("alloy-api-key")
    assert [file.name for file in (folder / "state").iterdir()] == ["forwarder.keys"]


def test_keys_of_several_pods_are_changed_as_documented(folder: Path) -> None:
    run_block(folder, "forwarder init && forwarder keys set alloy-api-key", {})
    before = (folder / "forwarder.master-key").read_text()
    change, apply = blocks(section("Several pods in Kubernetes"))
    for line in change.splitlines():
        run_block(folder, line, {})
    assert "infra/kubernetes-fleet/" in apply
    assert (folder / "forwarder.master-key").read_text() != before
    mounted = folder / "mounted"
    mounted.mkdir()
    (folder / "forwarder.master-key").rename(mounted / CREDENTIAL)
    (folder / "forwarder.keys").rename(mounted / "forwarder.keys")
    (folder / "forwarder.toml").write_text(f'[vault]\nfile = "{mounted}/forwarder.keys"\n')
    source = ConfigSource(folder / "forwarder.toml", {"CREDENTIALS_DIRECTORY": str(mounted)})
    assert Vault.open(source, load_local(source)).set_at("alloy-api-key")
