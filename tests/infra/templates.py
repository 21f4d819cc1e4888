"""The CloudFormation templates, as text and as stacks on moto."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import yaml
from moto.server import ThreadedMotoServer

INFRA = Path(__file__).parents[2] / "infra"
REGION = "eu-central-1"

UNSUPPORTED_BY_MOTO = {
    "AWS::CloudWatch::Alarm",
    "AWS::EventSchemas::Registry",
    "AWS::EventSchemas::Schema",
    "AWS::Events::ApiDestination",
    "AWS::Events::Connection",
    "AWS::Logs::Delivery",
    "AWS::Logs::DeliveryDestination",
    "AWS::Logs::DeliverySource",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}
"""The resource types that moto does not create, so that tests check the text of the template."""


class _Loader(yaml.SafeLoader):
    """A loader of YAML with CloudFormation's short forms: `!GetAtt Bus.Arn` is `{"Fn::GetAtt": "Bus.Arn"}`."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    match node:
        case yaml.ScalarNode():
            return {name: loader.construct_scalar(node)}
        case yaml.SequenceNode():
            return {name: loader.construct_sequence(node, deep=True)}
        case yaml.MappingNode():
            return {name: loader.construct_mapping(node, deep=True)}
    raise TypeError(node)


_Loader.add_multi_constructor("!", _short_form)


def template(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((INFRA / name).read_text(), Loader=_Loader)  # noqa: S506  # a safe one
    return loaded


def resources(name: str, kind: str) -> dict[str, Any]:
    """Return the properties of each resource of a type, by logical name."""
    found = template(name)["Resources"].items()
    return {logical: resource.get("Properties", {}) for logical, resource in found if resource["Type"] == kind}


@dataclass(frozen=True)
class Aws:
    """A moto server. All servers of a process share one account, so that each test needs its own bus name."""

    url: str
    region: str = REGION

    def client(self, service: str) -> Any:
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=self.region)
        return session.client(service, endpoint_url=self.url)

    @cached_property
    def cloudformation(self) -> Any:
        return self.client("cloudformation")

    def deploy(self, name: str, **parameters: str) -> dict[str, str]:
        """Deploy a template, and return the outputs of the stack."""
        stack = f"{Path(name).stem}-{secrets.token_hex(3)}"
        self.cloudformation.create_stack(
            StackName=stack,
            TemplateBody=(INFRA / name).read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        (created,) = self.cloudformation.describe_stacks(StackName=stack)["Stacks"]
        assert created["StackStatus"] == "CREATE_COMPLETE"
        return {output["OutputKey"]: output["OutputValue"] for output in created.get("Outputs", [])}

    def policy(self, arn: str) -> dict[str, Any]:
        """Return the document of a managed policy."""
        iam = self.client("iam")
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=version)
        document: dict[str, Any] = found["PolicyVersion"]["Document"]
        return document

    def messages(self, queue: str) -> list[Any]:
        """Receive and delete all messages of a queue."""
        sqs, found = self.client("sqs"), []
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(message["Body"]) for message in batch]
            for message in batch:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found


@contextmanager
def moto() -> Iterator[Aws]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Aws(f"http://{host}:{port}")
    finally:
        server.stop()
