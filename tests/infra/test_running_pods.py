"""The pods of `kubernetes-fleet/` as processes: one sealed vault for all, a real ledger, a pod that is killed."""

import re
import shlex
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import alloy, bus
from tests.e2e.harness import fail, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import REGION, StrictEventBridge
from tests.harness.dynalite import new_ledger_url
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess
from tests.infra.test_kubernetes_fleet import FOLDER, MANIFESTS, SECRET
from tests.infra.test_pod import PROBES, Pod, probe_status

__all__ = ["alloy", "bus"]

pytestmark = [pytest.mark.dynamodb, pytest.mark.long]

WORKFLOWS = [f"w-{number}" for number in range(12)]
"""So many that each of two pods has some of them, except in one case of two thousand: their names are random."""


def sealed_files(folder: Path) -> dict[str, str]:
    """Run the commands of secret.yaml in an empty folder, and return the content of the secret."""
    folder.mkdir()
    lines = re.findall(r"^#   (forwarder .+)$", (FOLDER / "secret.yaml").read_text(), re.MULTILINE)
    commands = [command for line in lines for command in line.split(" && ")]
    assert len(commands) == 4
    for command in commands:
        installation = Installation.at(folder)
        done = installation.run_command(*shlex.split(command)[1:], stdin=API_KEY if "keys set" in command else "")
        assert done.code == 0, done
    names = dict(zip(SECRET, ("forwarder.master-key", "forwarder.keys"), strict=True))
    return {name: (folder / file).read_text() for name, file in names.items()}


def text_of(directory: Path, ledger_url: str) -> str:
    text = str(MANIFESTS["ConfigMap"]["data"]["forwarder.toml"])
    for manifest, ours in (
        ("/run/credentials/", f"{directory}/credentials/"),
        ("dynamodb://forwarder-ledger?region=eu-west-1", ledger_url),
        ('"alloy-failures"', '"failures"'),
        ('region = "eu-west-1"', f'region = "{REGION}"'),
        ("127.0.0.1:8787", "127.0.0.1:0"),
        ("[::]:8788", "127.0.0.1:0"),
        ("workflows = []", f"workflows = {WORKFLOWS}".replace("'", '"')),
    ):
        assert manifest in text
        text = text.replace(manifest, ours)
    return text


def pod_at(directory: Path, alloy: FakeAlloy, bus: StrictEventBridge, url: str, files: dict[str, str]) -> Pod:
    directory.mkdir()
    pod = Pod(directory, alloy=alloy.url, bus=bus.url)
    for name, content in files.items():
        (directory / "credentials" / name).unlink(missing_ok=True)
        (directory / "credentials" / name).write_text(content)
        (directory / "credentials" / name).chmod(0o440)
    pod.env |= {
        "FORWARDER_LEDGER__HEARTBEAT_INTERVAL": "300ms",
        "FORWARDER_SOURCE__MIN_INTERVAL": "100ms",
        "FORWARDER_SOURCE__MAX_INTERVAL": "300ms",
    }
    pod.apply("1", text_of(directory, url))
    return pod


def is_ready(daemon: ForwarderProcess) -> bool:
    return all(probe_status(daemon, probe) == 200 for probe in PROBES)


def fail_each(alloy: FakeAlloy, suffix: str) -> list[str]:
    for workflow in WORKFLOWS:
        fail(alloy, f"{workflow}-{suffix}", workflow=workflow, ago=1)
    return [f"{workflow}-{suffix}" for workflow in WORKFLOWS]


def test_pods_share_the_keys_and_take_each_other_over(tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    files, ledger_url = sealed_files(tmp_path / "keys"), new_ledger_url()
    one, two = (pod_at(tmp_path / name, alloy, bus, ledger_url, files) for name in ("one", "two"))
    for workflow in WORKFLOWS:
        alloy.api.add_workflow(workflow)
    with one.start() as first, two.start() as second:
        for daemon in (first, second):
            daemon.wait_for_log("health endpoints listening")
            daemon.wait_until(partial(is_ready, daemon))
        ids = fail_each(alloy, "a")
        first.wait_until(lambda: set(sent(bus)) >= set(ids))
        first.send(signal.SIGKILL)
        ids += fail_each(alloy, "b")
        second.wait_until(lambda: set(sent(bus)) >= set(ids))
        assert second.stop() == 0
    assert {path.name for path in (tmp_path / "two" / "credentials").iterdir()} == files.keys()
    assert list((tmp_path / "two" / "state").iterdir()) == []
