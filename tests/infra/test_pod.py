"""The pod of the manifests, without a cluster: its settings, its mounts and its probes, with the real daemon."""

import base64
import http.client
import json
from pathlib import Path

import pytest

from forwarder.vault.master_key import CREDENTIAL
from tests.e2e.conftest import alloy, bus
from tests.e2e.harness import fail, sent
from tests.fakes.alloy import API_KEY, FakeAlloy
from tests.fakes.eventbridge import KEY, REGION, StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.process import ForwarderProcess
from tests.infra.test_kubernetes import CONTAINER, manifest_of

__all__ = ["alloy", "bus"]

pytestmark = pytest.mark.long

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


class Pod(Installation):
    """A pod of the manifests whose folders are in one directory, and whose listeners use any port of loopback."""

    def __init__(self, directory: Path, *, alloy: str, bus: str) -> None:
        super().__init__(directory, alloy=alloy, bus=bus)
        for folder in ("state", "credentials", "settings"):
            (directory / folder).mkdir()
        self.mounted = directory / "settings" / "forwarder.toml"
        self.settings_file = self.mounted
        key_file = directory / "credentials" / CREDENTIAL
        key_file.write_text(base64.b64encode(bytes(32)).decode() + "\n")
        key_file.chmod(0o440)
        self.env = {
            "CREDENTIALS_DIRECTORY": str(directory / "credentials"),
            "AWS_ACCESS_KEY_ID": KEY.id,
            "AWS_SECRET_ACCESS_KEY": KEY.secret,
            "AWS_ENDPOINT_URL_STS": bus,
            "FORWARDER_SOURCE__BASE_URL": alloy,
            "FORWARDER_SOURCE__START_FROM": "beginning",
            "FORWARDER_DESTINATION__ENDPOINT_URL": bus,
        }

    def apply(self, version: str, text: str) -> None:
        """Update the mounted ConfigMap as a kubelet does, with a new folder and a link that is replaced."""
        version_folder = self.directory / "settings" / f"..{version}"
        version_folder.mkdir()
        (version_folder / "forwarder.toml").write_text(text)
        new_link = self.directory / "settings" / "..data.new"
        new_link.symlink_to(version_folder.name)
        new_link.rename(self.directory / "settings" / "..data")
        if not self.mounted.is_symlink():
            self.mounted.symlink_to("..data/forwarder.toml")


def text_of(directory: Path) -> str:
    text = str(manifest_of("ConfigMap")["data"]["forwarder.toml"])
    for output, ours in (
        ("/var/lib/forwarder/", f"{directory}/state/"),
        ('"alloy-failures"', '"failures"'),
        ('"eu-west-1"', f'"{REGION}"'),
        ("127.0.0.1:8787", "127.0.0.1:0"),
        ("[::]:8788", "127.0.0.1:0"),
        ("workflows = []", 'workflows = ["w"]'),
    ):
        assert output in text
        text = text.replace(output, ours)
    return text


def probe_status(daemon: ForwarderProcess, probe: str) -> int:
    """Return the status of a probe. The kubelet requests it by the pod's own address."""
    listening = [json.loads(line) for line in daemon.log.splitlines() if '"health endpoints listening"' in line]
    connection = http.client.HTTPConnection(listening[0]["address"].removeprefix("http://"), timeout=10)
    connection.request("GET", CONTAINER[probe]["httpGet"]["path"], headers={"Host": "10.42.0.7:8788"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_pod_starts_disabled_and_is_enabled_by_a_config_map(
    tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    pod = Pod(tmp_path, alloy=alloy.url, bus=bus.url)
    alloy.api.add_workflow("w")
    fail(alloy, "a")
    off = text_of(tmp_path)
    pod.apply("1", off)
    with pod.start() as daemon:
        daemon.wait_for_log("health endpoints listening")
        daemon.wait_until(
            lambda: all(probe_status(daemon, probe) == 200 for probe in PROBES)
        )  # a kubelet repeats its probes too
        assert pod.run_command("keys", "set", "alloy-api-key", stdin=API_KEY + "\n").code == 0
        assert sent(bus) == []
        pod.apply("2", off.replace("enabled = false", "enabled = true"))
        daemon.wait_until(lambda: sent(bus) == ["a"])
        assert pod.run_command("check").code == 0
        daemon.wait_until(lambda: probe_status(daemon, "readinessProbe") == 200)
        assert probe_status(daemon, "livenessProbe") == 200
        assert daemon.stop() == 0
    assert {path.name for path in (tmp_path / "state").iterdir()} >= {"forwarder.keys", "forwarder.db"}
