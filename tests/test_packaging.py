"""The sdist and the wheel contain the right files, and the wheel runs in an empty environment."""

import email
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from forwarder import __version__
from tests.e2e.conftest import alloy, bus, vault_secrets
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

__all__ = ["alloy", "bus", "vault_secrets"]

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "infra" / "container" / "requirements.lock"


def run(*arguments: str | Path, **options: object) -> str:
    done = subprocess.run([*arguments], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]  # noqa: S603  # fixed command
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the distributions of `make dist` in a separate folder."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (found,) = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_distributions_pass_the_strict_check(distributions: Path) -> None:
    files = sorted(distributions.iterdir())
    assert [file.name for file in files] == [
        f"forwarder-{__version__}-py3-none-any.whl",
        f"forwarder-{__version__}.tar.gz",
    ]
    assert run(sys.executable, "-m", "twine", "check", "--strict", *files).count("PASSED") == 2


def test_wheel_has_only_the_program_and_the_type_marker(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "forwarder/py.typed" in names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"forwarder"}
    expected = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "forwarder").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_sdist_has_all_files_of_the_readme(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "Makefile", "infra/README.md", "infra/bus.yaml"} <= names
    assert {"CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "docs/runbook.md"} <= names
    assert "tests/test_packaging.py" in names
    assert not [name for name in names if name.startswith((".venv", "dist")) or name.endswith(".pyc")]


def test_package_has_only_the_extra_demo(metadata: Message) -> None:
    assert metadata.get_all("Provides-Extra") == ["demo"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_wheel_runs_in_an_empty_environment(
    tmp_path: Path, wheel: Path, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    empty = tmp_path / "empty"
    venv.create(empty, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(empty / "bin" / "python"), "install", "--quiet", "--no-compile"]
    run(*pip, "--require-hashes", "-r", LOCK)
    run(*pip, "--no-deps", "--no-index", wheel)
    installation = Installation(tmp_path, alloy=alloy.url, bus=bus.url)
    installation.create_vault()
    installation.env["AWS_ENDPOINT_URL_STS"] = bus.url
    program, environment = empty / "bin" / "forwarder", installation.environment()
    assert run(program, "--version", env=environment, cwd=tmp_path) == f"forwarder {__version__}\n"
    assert '"executionId"' in run(program, "schema", env=environment, cwd=tmp_path)
    checked = run(program, "-c", installation.settings_file, "check", env=environment, cwd=tmp_path)
    assert checked.count("✓") == 8
