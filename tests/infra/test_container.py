"""The Dockerfile's steps, done in a throwaway folder; and what the compose file starts, started as processes."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from forwarder.cli.health import TIMEOUT_SECONDS
from forwarder.vault.master_key import CREDENTIAL
from tests.infra.container import Images, parse_instructions
from tests.infra.templates import INFRA

ROOT = INFRA.parent
CONTAINER = INFRA / "container"
DOCKERFILE = CONTAINER / "Dockerfile"
COMPOSE_FILES = (CONTAINER / "compose.yaml", CONTAINER / "compose.secrets.yaml")
HEALTH = ["forwarder", "health"]


def locked(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", file.read_text(), re.MULTILINE))


def arguments(word: str) -> list[str]:
    return [step.text for step in parse_instructions(DOCKERFILE) if step.word == word]


@pytest.mark.long
def test_the_steps_make_a_program_that_runs_alone(tmp_path: Path) -> None:
    images = Images(tmp_path, ROOT)
    images.build(DOCKERFILE)
    program = tmp_path / "opt" / "forwarder" / "bin" / "forwarder"
    bare = {"PATH": str(program.parent), "HOME": str(tmp_path)}
    for command in (["--version"], ["schema"], ["health", "--help"]):
        subprocess.run([program, *command], check=True, capture_output=True, env=bare, cwd="/")  # noqa: S603  # ours
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
    installs = [line for line in arguments("RUN") if " install " in line and "pip" in line]
    assert len(installs) == 3
    for line in installs:
        assert ("--require-hashes" in line and "--only-binary :all:" in line) or "--no-index --no-deps" in line


def test_it_runs_as_nobody_in_particular_and_says_whether_it_lives() -> None:
    assert arguments("USER") == ["10001:10001"]
    assert arguments("FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    (check,) = arguments("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2]) == HEALTH
    assert arguments("ENTRYPOINT") == ['["forwarder"]']


def test_health_checks_allow_more_than_the_command_takes() -> None:
    (check,) = arguments("HEALTHCHECK")
    waits = [re.findall(r"--timeout=(\d+)s", check)[0]]
    for file in COMPOSE_FILES:
        health = yaml.safe_load(file.read_text())["services"]["forwarder"]["healthcheck"]
        assert health["test"] == ["CMD", *HEALTH]
        waits.append(health["timeout"].removesuffix("s"))
    assert all(int(wait) >= 2 * TIMEOUT_SECONDS for wait in waits)


def test_the_base_image_can_be_pinned_by_digest() -> None:
    (argument,) = arguments("ARG")
    name, _, image = argument.partition("=")
    assert name == "PYTHON_IMAGE"
    assert image.startswith("python:3.")
    assert "--build-arg PYTHON_IMAGE=" in (INFRA.parent / "docs" / "operations.md").read_text()


def test_the_state_folder_suits_an_arbitrary_user_of_group_0() -> None:
    (install,) = [line for line in arguments("RUN") if "/var/lib/forwarder" in line]
    assert install == "install -d -o 10001 -g 0 -m 0770 /var/lib/forwarder"


def test_compose_hands_the_master_key_over_as_a_credential() -> None:
    compose = yaml.safe_load((CONTAINER / "compose.secrets.yaml").read_text())
    service = compose["services"]["forwarder"]
    (secret,) = service["secrets"]
    assert secret["target"] == CREDENTIAL
    assert compose["secrets"].keys() == {secret["source"]}
    assert service["environment"] == {"CREDENTIALS_DIRECTORY": "/run/secrets"}
    assert (CONTAINER / service["build"]["context"] / "pyproject.toml").exists()
    assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)


def test_what_is_copied_is_let_through() -> None:
    """A file that .dockerignore keeps out of the context fails the build."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in arguments("COPY") if not line.startswith("--from") for source in line.split()[:-1]}
    assert {re.sub(r"[^/]+\.lock$", "*.lock", source) for source in copied} == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_the_compose_file_starts_what_there_is_on_ports_that_agree() -> None:
    compose = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
    services = compose["services"]
    assert services.keys() == {"aws", "source", "forwarder"}
    assert (CONTAINER / services["forwarder"]["build"]["context"] / "pyproject.toml").exists()
    port = services["aws"]["entrypoint"][-1]
    assert f"http://127.0.0.1:{port}" in services["source"]["command"]
    assert services["source"]["entrypoint"][1:] == ["-m", "forwarder.demo.container_source"]
    assert services["aws"]["image"].split(":")[1] == locked(ROOT / "requirements.lock")["moto"]
    for name in ("source", "forwarder"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["read_only"] is True
