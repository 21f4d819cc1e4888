"""The stack of `service.yaml` on moto, and its containers as processes of this machine."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.infra.templates import REGION, Aws
from tests.infra.test_container import arguments

PARAMETERS = {
    "Image": f"123456789012.dkr.ecr.{REGION}.amazonaws.com/forwarder:0.2.0",
    "AlloyApiKeyArn": f"arn:aws:secretsmanager:{REGION}:123456789012:secret:alloy-api-key-AbCdEf",
    "PolicyArns": "arn:aws:iam::123456789012:policy/publish,arn:aws:iam::123456789012:policy/use-ledger",
    "LedgerUrl": f"dynamodb://forwarder-ledger?region={REGION}",
    "EventBus": f"arn:aws:events:{REGION}:123456789012:event-bus/failures",
    "EventBusRegion": REGION,
    "Workflows": '["w"]',
}


def deploy_service(aws: Aws, **parameters: str) -> dict[str, str]:
    """Deploy the service into moto's default network, and return the outputs of the stack."""
    subnets = aws.client("ec2").describe_subnets()["Subnets"]
    network = {"VpcId": subnets[0]["VpcId"], "Subnets": ",".join(subnet["SubnetId"] for subnet in subnets)}
    return aws.deploy("service.yaml", **(network | PARAMETERS | parameters))


def containers(aws: Aws, outputs: dict[str, str]) -> dict[str, Any]:
    """Return the containers of the task of a deployed service, with the parameters filled in, by name."""
    ecs = aws.client("ecs")
    (service,) = ecs.describe_services(cluster=outputs["Cluster"], services=[outputs["Service"]])["services"]
    task = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    return {container["name"]: container for container in task["containerDefinitions"]}


@dataclass(frozen=True)
class Task:
    """A task whose storage is a folder of this machine. `overrides` are variables that the task does not have."""

    folder: Path
    containers: dict[str, Any]
    overrides: dict[str, str]

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a container: that of the image, then that of the task."""
        own = {each["name"]: each["value"] for each in self.containers[name]["environment"]}
        image = dict(word.split("=", 1) for line in arguments("ENV") for word in line.split())
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        (volume,) = arguments("VOLUME")
        moved = {key: value.replace(volume, str(self.folder)) for key, value in (image | own).items()}
        return moved | {"PATH": path} | self.overrides

    def command(self, name: str) -> list[str]:
        container = self.containers[name]
        return [*container.get("entryPoint", ["forwarder"]), *container["command"]]

    def seal_keys(self, secret: str) -> None:
        """Run the container that seals the key to its end."""
        environment = self.environment("keys") | {"ALLOY_API_KEY": secret}
        subprocess.run(self.command("keys"), env=environment, cwd=self.folder, check=True, capture_output=True)  # noqa: S603  # of the template
