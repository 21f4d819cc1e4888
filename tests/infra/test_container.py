"""The Dockerfile's steps, done in a throwaway folder; and what the compose file starts, started as processes."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from forwarder.settings.fields import WebSettings
from tests.infra.container import Images, steps
from tests.infra.templates import INFRA

ROOT = INFRA.parent
CONTAINER = INFRA / "container"
DOCKERFILE = CONTAINER / "Dockerfile"


def locked(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", file.read_text(), re.MULTILINE))


def words(word: str) -> list[str]:
    return [step.text for step in steps(DOCKERFILE) if step.word == word]


@pytest.mark.long
def test_the_steps_make_a_program_that_runs_alone(tmp_path: Path) -> None:
    images = Images(tmp_path, ROOT)
    images.build(DOCKERFILE)
    program = tmp_path / "opt" / "forwarder" / "bin" / "forwarder"
    bare = {"PATH": str(program.parent), "HOME": str(tmp_path)}
    for verb in (["--version"], ["schema"]):
        subprocess.run([program, *verb], check=True, capture_output=True, env=bare, cwd="/")  # noqa: S603  # ours
    installed = {path.name.split("-")[0].lower() for path in program.parents[1].glob("lib/*/site-packages/*.dist-info")}
    wanted = {name.lower().replace("-", "_") for name in locked(CONTAINER / "requirements.lock")}
    assert "forwarder" in installed
    assert installed - {"forwarder"} <= wanted
    assert not installed & {"pip", "setuptools", "wheel", "hatchling", "pytest", "moto"}
    assert [step.split()[0] for step in images.left_out] == ["groupadd"]
    bases = sorted(tmp_path.glob("base-*"), key=lambda base: int(base.name.partition("-")[2]))
    assert [bool(list(base.glob("lib/*/site-packages/pip"))) for base in bases] == [True, False]


def test_what_goes_into_the_image_is_what_is_tested() -> None:
    tested = locked(ROOT / "requirements.lock")
    for name in ("requirements.lock", "build.lock"):
        ours = locked(CONTAINER / name)
        assert ours
        assert ours.items() <= tested.items()


def test_the_image_has_every_dependency_and_none_of_development() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[^\w-]", need)[0] for need in project["dependencies"]}
    ours = locked(CONTAINER / "requirements.lock").keys()
    assert wanted <= ours
    assert not ours & {"pytest", "mypy", "moto", "hatchling", "playwright", "cfn-lint"}


def test_everything_installed_has_a_hash_and_nothing_is_compiled() -> None:
    installs = [line for line in words("RUN") if " install " in line and "pip" in line]
    assert len(installs) == 3
    for line in installs:
        assert ("--require-hashes" in line and "--only-binary :all:" in line) or "--no-index --no-deps" in line


def test_it_runs_as_nobody_in_particular_and_says_whether_it_lives() -> None:
    assert words("USER") == ["10001:10001"]
    assert len(words("FROM")) == 2
    (check,) = words("HEALTHCHECK")
    listen = WebSettings().listen
    assert f"http://{listen}/livez" in check
    assert words("ENTRYPOINT") == ['["forwarder"]']


def test_what_is_copied_is_let_through() -> None:
    """A file that .dockerignore keeps out of the context fails the build."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in words("COPY") if not line.startswith("--from") for source in line.split()[:-1]}
    assert {re.sub(r"[^/]+\.lock$", "*.lock", source) for source in copied} == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_the_compose_file_starts_what_there_is_on_ports_that_agree() -> None:
    compose = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
    services = compose["services"]
    assert services.keys() == {"aws", "source", "forwarder"}
    assert (CONTAINER / services["forwarder"]["build"]["context"] / "pyproject.toml").exists()
    port = services["aws"]["entrypoint"][-1]
    assert f"http://127.0.0.1:{port}" in services["source"]["command"]
    assert services["source"]["entrypoint"][1:] == ["-m", "forwarder.demo.source"]
    assert services["aws"]["image"].split(":")[1] == locked(ROOT / "requirements.lock")["moto"]
    for name in ("source", "forwarder"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["read_only"] is True
