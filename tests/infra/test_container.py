"""The Dockerfile's steps work in a temporary folder, and the compose files are consistent with it and the locks."""

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
from tests.infra.templates import INFRA, resources

ROOT = INFRA.parent
CONTAINER = INFRA / "container"
OPERATIONS = ROOT / "docs" / "operations.md"
DOCKERFILE = CONTAINER / "Dockerfile"
COMPOSE_FILES = (CONTAINER / "compose.yaml", CONTAINER / "compose.secrets.yaml")
HEALTH = ["forwarder", "health"]


def locked(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", file.read_text(), re.MULTILINE))


def arguments(word: str) -> list[str]:
    return [step.text for step in parse_instructions(DOCKERFILE) if step.word == word]


@pytest.mark.long
def test_dockerfile_steps_install_a_standalone_program(tmp_path: Path) -> None:
    images = Images(tmp_path, ROOT)
    images.build(DOCKERFILE)
    program = tmp_path / "opt" / "forwarder" / "bin" / "forwarder"
    bare = {"PATH": str(program.parent), "HOME": str(tmp_path)}
    for command in (["--version"], ["schema"], ["health", "--help"]):
        subprocess.run([program, *command], check=True, capture_output=True, env=bare, cwd="/")  # noqa: S603  # a command of this test
    installed = {path.name.split("-")[0].lower() for path in program.parents[1].glob("lib/*/site-packages/*.dist-info")}
    required = {name.lower().replace("-", "_") for name in locked(CONTAINER / "requirements.lock")}
    assert "forwarder" in installed
    assert installed - {"forwarder"} <= required
    assert not installed & {"pip", "setuptools", "wheel", "hatchling", "pytest", "moto"}
    assert [step.split()[0] for step in images.skipped] == ["groupadd"]
    bases = sorted(tmp_path.glob("base-*"), key=lambda base: int(base.name.partition("-")[2]))
    assert [bool(list(base.glob("lib/*/site-packages/pip"))) for base in bases] == [True, False]


def test_locks_of_the_image_equal_the_tested_versions() -> None:
    tested = locked(ROOT / "requirements.lock")
    for name in ("requirements.lock", "build.lock"):
        ours = locked(CONTAINER / name)
        assert ours
        assert ours.items() <= tested.items()


def test_image_has_all_dependencies_and_no_development_tools() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {re.split(r"[^\w-]", need)[0] for need in project["dependencies"]}
    ours = locked(CONTAINER / "requirements.lock").keys()
    assert required <= ours
    assert not ours & {"pytest", "mypy", "moto", "hatchling", "playwright", "cfn-lint"}


def test_installed_packages_have_hashes_and_are_binary() -> None:
    installs = [line for line in arguments("RUN") if " install " in line and "pip" in line]
    assert len(installs) == 3
    for line in installs:
        assert ("--require-hashes" in line and "--only-binary :all:" in line) or "--no-index --no-deps" in line


def test_image_has_an_unprivileged_user_and_a_health_check() -> None:
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


def test_base_image_can_be_pinned_by_digest() -> None:
    (argument,) = arguments("ARG")
    name, _, image = argument.partition("=")
    assert name == "PYTHON_IMAGE"
    assert image.startswith("python:3.")
    assert "--build-arg PYTHON_IMAGE=" in OPERATIONS.read_text()


def test_state_folder_is_writable_for_group_0() -> None:
    (install,) = [line for line in arguments("RUN") if "/var/lib/forwarder" in line]
    assert install == "install -d -o 10001 -g 0 -m 0770 /var/lib/forwarder"


def test_compose_mounts_the_master_key_as_a_credential() -> None:
    compose = yaml.safe_load((CONTAINER / "compose.secrets.yaml").read_text())
    service = compose["services"]["forwarder"]
    (secret,) = service["secrets"]
    assert secret["target"] == CREDENTIAL
    assert compose["secrets"].keys() == {secret["source"]}
    assert service["environment"] == {"CREDENTIALS_DIRECTORY": "/run/secrets"}
    assert (CONTAINER / service["build"]["context"] / "pyproject.toml").exists()
    assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)


def test_copied_files_are_not_in_dockerignore() -> None:
    """A copied file that .dockerignore excludes from the context fails the build."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in arguments("COPY") if not line.startswith("--from") for source in line.split()[:-1]}
    assert {re.sub(r"[^/]+\.lock$", "*.lock", source) for source in copied} == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_compose_services_exist_and_their_ports_agree() -> None:
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


def test_every_daemon_container_has_an_init_process() -> None:
    """The forwarder as process 1 would never reap the orphans of a health check that the engine ended."""
    for file in COMPOSE_FILES:
        services = yaml.safe_load(file.read_text())["services"].values()
        assert {service.get("init") for service in services if service["image"] == "forwarder"} == {True}
    (task,) = resources("service.yaml", "AWS::ECS::TaskDefinition").values()
    (daemon,) = [each for each in task["ContainerDefinitions"] if each.get("Command") == ["run"]]
    assert daemon["LinuxParameters"]["InitProcessEnabled"] is True
    commands = re.findall(r"^docker run (?:-d|.*forwarder run\b).*$", OPERATIONS.read_text(), re.MULTILINE)
    assert len(commands) == 3
    assert all(" --init " in command for command in commands)
