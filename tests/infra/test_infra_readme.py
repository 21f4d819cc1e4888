"""The instructions of docs/operations.md for keys and ledger work, and the sums of docs/costs.md are correct."""

import re
import shlex
from pathlib import Path

import pytest

from tests.e2e.conftest import alloy, bus, installation, vault_secrets
from tests.e2e.harness import fail, numbered, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.infra.templates import INFRA

__all__ = ["alloy", "bus", "installation", "vault_secrets"]

ROOT = INFRA.parent
README = (INFRA / "README.md").read_text()
OPERATIONS, COOKBOOK, COSTS = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("operations", "cookbook", "costs")
)


def commands(text: str = OPERATIONS + COOKBOOK) -> list[str]:
    """Return every line of every code block that a person would copy."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for kind, block in fenced if not kind for line in block.replace("\\\n", "").splitlines()]


@pytest.mark.long
def test_ledger_backup_while_running_can_be_restored(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    (command,) = [line for line in commands() if "ledger backup" in line]
    fail(alloy, *numbered(30))
    with installation.start() as daemon:
        daemon.wait_until(lambda: len(bus.delivered) == 30)
        daemon.wait_until(lambda: installation.counters()["sent"] == 30)
        program, *arguments, backup = shlex.split(command)
        assert program == "forwarder"
        assert installation.run_command(*arguments, str(installation.directory / backup)).code == 0
        fail(alloy, "later")
        daemon.wait_until(lambda: len(bus.delivered) == 31)
        assert daemon.stop() == 0
    for ending in ("", "-wal", "-shm"):
        (installation.directory / f"forwarder.db{ending}").unlink(missing_ok=True)
    (installation.directory / "backup.db").rename(installation.directory / "forwarder.db")
    installation.env["AWS_ENDPOINT_URL_STS"] = bus.url
    assert installation.run_command("check").code == 0
    assert installation.run_command("once").code == 0
    assert sent(bus) == sorted([*numbered(30), "later", "later"])


@pytest.mark.long
def test_moved_ledger_is_not_created_again_at_its_old_path(
    installation: Installation, alloy: FakeAlloy, tmp_path: Path
) -> None:
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    (installation.directory / "forwarder.db").rename(tmp_path / "moved.db")
    done = installation.run_command("once")
    assert done.code == 1
    assert "is gone" in done.err


@pytest.mark.long
def test_master_key_credential_is_rotated_as_documented(installation: Installation, bus: StrictEventBridge) -> None:
    handed = installation.directory / "credentials"
    handed.mkdir()
    credential, key = handed / "forwarder-master-key", installation.directory / "forwarder.master-key"
    key.rename(credential)
    installation.env |= {"CREDENTIALS_DIRECTORY": str(handed), "AWS_ENDPOINT_URL_STS": bus.url}
    assert installation.run_command("keys", "rotate").code == 78
    key.write_bytes(credential.read_bytes())
    key.chmod(0o600)
    del installation.env["CREDENTIALS_DIRECTORY"]
    assert installation.run_command("keys", "rotate").code == 0
    key.replace(credential)
    installation.env["CREDENTIALS_DIRECTORY"] = str(handed)
    assert "✓ vault" in installation.run_command("check").out


@pytest.mark.parametrize(("text", "min_count"), [(OPERATIONS, 4), (COOKBOOK, 3)], ids=["operations", "cookbook"])
def test_files_in_documented_commands_exist(text: str, min_count: int) -> None:
    named = {found for line in commands(text) for found in re.findall(r"infra/[\w./-]+", line)}
    assert len(named) >= min_count
    created = tuple(re.findall(r"^infra/.+(?=/$)", (ROOT / ".gitignore").read_text(), re.MULTILINE))
    assert not [path for path in named if not path.startswith(created) and not (ROOT / path).exists()]


def test_infra_readme_lists_every_template() -> None:
    table = README.split("## Which template when")[1].split("\n## ")[0]
    for path in [*INFRA.glob("*.yaml"), *INFRA.glob("*/*.yaml")]:
        if path.parent.name not in ("kubernetes", "kubernetes-fleet", "container"):
            assert path.name in table or path.name == "alerts.test.yaml", path


@pytest.mark.parametrize(
    "parameter", ["AlarmEmail", "EventBusArn", "BotToken", "TicketsUrl", "DeadLetterArn", "WorkflowId"]
)
def test_parameters_in_documented_commands_exist(parameter: str) -> None:
    templates = "".join(path.read_text() for path in [*INFRA.glob("*.yaml"), *INFRA.glob("cookbook/*.yaml")])
    given = {name for line in commands() for name in re.findall(r"\b([A-Z][a-z]\w+)=", line)}
    assert parameter in given
    assert all(f"  {name}:" in templates for name in given)


@pytest.mark.parametrize("heading", ["## Deploy in Kubernetes\n", "**Kubernetes.**"])
@pytest.mark.parametrize("word", ["image", "settings|workflows", "secret.yaml", "aws-access-key-id", "a role with"])
def test_kubernetes_instructions_name_what_is_needed(heading: str, word: str) -> None:
    assert re.search(word, OPERATIONS.split(heading)[1].split("\n## ")[0])


def test_documented_commands_wait_for_the_pod() -> None:
    """A command in a pod that is not running yet fails."""
    applied = rolled_out = 0
    is_waiting = False
    for line in commands():
        if line.startswith("kubectl apply -k"):
            applied, is_waiting = applied + 1, True
        elif line.startswith("kubectl rollout status"):
            rolled_out, is_waiting = rolled_out + 1, False
        elif line.startswith("kubectl exec"):
            assert not is_waiting, line
    assert applied == rolled_out >= 4


def test_deployment_of_the_bus_ends_with_a_proof() -> None:
    """`check` alone succeeds if EventBridge cannot write to the queues."""
    section = OPERATIONS.split("## Deploy in AWS\n")[1].split("\n## ")[0]
    assert commands(section)[-1] == "forwarder check --prove"


def test_documented_stacks_do_not_replace_each_other() -> None:
    """A second deployment under the name of a stack removes what its parameters no longer ask for, such as a user."""
    names = [name for line in commands() for name in re.findall(r"cloudformation deploy --stack-name (\S+)", line)]
    assert len(names) >= 5
    assert sorted(names) == sorted(set(names))


def test_sums_of_the_costs_are_correct() -> None:
    section = COSTS.split("## Cost per million failures")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \|([^|]*)\| ([\d.]+) \|$", section, re.MULTILINE)
    *parts, (_, _, together) = rows
    for what, reckoned, dollars in parts:
        amount, price = re.findall(r"\d+(?:\.\d+)?", reckoned)
        assert round(float(amount) * float(price), 2) == float(dollars), what
    assert round(sum(float(dollars) for _, _, dollars in parts), 2) == float(together)
