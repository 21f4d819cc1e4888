"""The smallest IAM policy with which the forwarder can publish, for a person to copy."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

_BUS_ARN = re.compile(r"arn:aws[a-z-]*:events:[^:]*:\d{12}:event-bus/.+")
_ACCOUNT_IN_ARN = re.compile(r"arn:[^:]*:(?:iam|sts)::(\d{12}):")

PLACEHOLDERS = ("EVENT_BUS_NAME", "REGION", "ACCOUNT_ID")


@dataclass(frozen=True, slots=True)
class IamPolicy:
    """A policy as JSON. `placeholders` are its parts that a person has to replace."""

    text: str
    placeholders: tuple[str, ...]

    @classmethod
    def of(cls, texts: Mapping[str, str], caller: str) -> "IamPolicy":
        """Return the policy for the texts of the form. `caller` is the result of the identity's check, or empty."""
        arn = _bus_arn(texts, caller)
        actions = ["events:PutEvents", "events:DescribeEventBus"]
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": arn}]}
        placeholders = tuple(name for name in PLACEHOLDERS if name in re.split("[:/]", arn))
        return cls(json.dumps(policy, indent=2), placeholders)


def _bus_arn(texts: Mapping[str, str], caller: str) -> str:
    bus, region = texts["destination.event_bus"].strip(), texts["destination.region"].strip()
    if _BUS_ARN.fullmatch(bus):
        return bus
    # A bus that is named without an account is in the account of the keys, or of the role assumed with them.
    found = _ACCOUNT_IN_ARN.match(texts["destination.role_arn"].strip()) or _ACCOUNT_IN_ARN.match(caller)
    partition = next((f"aws-{each}" for each in ("cn", "us-gov") if region.startswith(f"{each}-")), "aws")
    account = found[1] if found else "ACCOUNT_ID"
    return f"arn:{partition}:events:{region or 'REGION'}:{account}:event-bus/{bus or 'EVENT_BUS_NAME'}"
