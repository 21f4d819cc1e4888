"""The demo's source runs as a process with an emulated AWS and a forwarder, as in the containers."""

import subprocess
import sys
from pathlib import Path

import pytest

from forwarder.demo.container_source import QUEUE, REGION
from tests.harness.installation import Installation
from tests.harness.process import eventually
from tests.infra.templates import Aws, moto


@pytest.mark.long
def test_failures_reach_the_queue_of_the_container_source(tmp_path: Path) -> None:
    with moto() as server:
        aws = Aws(server.url, REGION)
        installation = Installation(tmp_path, alloy="http://127.0.0.1:9", bus=aws.url)
        installation.settings_file.unlink()
        command = [
            sys.executable,
            "-m",
            "forwarder.demo.container_source",
            str(tmp_path),
            "--port",
            "0",
            "--every",
            "0.1",
        ]
        with subprocess.Popen([*command, "--aws", aws.url], env=installation.environment()) as source:  # noqa: S603
            try:
                assert eventually((tmp_path / "ready").exists, within=60, alive=lambda: source.poll() is None)
                arrived: set[str] = set()
                with installation.start() as daemon:
                    daemon.wait_until(lambda: _take(aws, arrived) > 5, within=60)
                    seen = len(arrived)
                    daemon.wait_until(lambda: _take(aws, arrived) > seen + 2, within=60)
                    assert daemon.stop() == 0
            finally:
                source.terminate()
        assert source.returncode == 0


def _take(aws: Aws, arrived: set[str]) -> int:
    arrived.update(event["detail"]["executionId"] for event in aws.messages(QUEUE))
    return len(arrived)
