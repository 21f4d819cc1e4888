"""The validators of names and addresses of AWS: buses, regions, endpoints, roles and event sources."""

import re
from urllib.parse import urlsplit

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+")
_AVAILABILITY_ZONE = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+[a-z]")
_ARN = re.compile(r"arn:(?P<partition>[^:]*):(?P<service>[^:]*):(?P<region>[^:]*):(?P<account>[^:]*):(?P<resource>.*)")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
_BUS_NAME = re.compile(r"[\w./-]{1,256}", re.ASCII)
_BUS_ARN = re.compile(r"arn:aws[a-z-]*:events:[a-z0-9-]+:\d{12}:event-bus/[\w./-]{1,256}", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_GLOBAL_ENDPOINT = re.compile(r"[\w.-]+\.endpoint\.events\.(?:amazonaws\.com|api\.aws)")
_AWS_HOST = re.compile(
    r"(?:[\w-]+\.)?(?P<service>[a-z0-9-]+?)(?:-fips)?\.(?P<region>[a-z]{2,4}(?:-[a-z]+)+-[0-9]+)\."
    r"(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)"
)
"""A regional endpoint of AWS: public, FIPS, dual-stack, or of a VPC."""


def event_source(value: str) -> str:
    if value.lower().startswith("aws."):
        raise ValueError("starts with aws., which AWS keeps for its own services")
    return value


def bus(value: str) -> str:
    """Return the name or the ARN of a bus. Raise ValueError if it is neither."""
    if not value:
        raise ValueError("is empty")
    if "://" in value:
        raise ValueError("is a web address, not the name or the ARN of an event bus")
    if found := _ARN.fullmatch(value):
        if not _BUS_ARN.fullmatch(value):
            raise ValueError(f"is {_resource(found)}, not the ARN of an event bus")
    elif not _BUS_NAME.fullmatch(value):
        raise ValueError("is neither the name nor the ARN of an event bus")
    return value


def bucket(value: str) -> str:
    """Return the name of a bucket, or an empty string. Source: "General purpose bucket naming rules" of S3."""
    if "://" in value or value.startswith("arn:"):
        raise ValueError("is an address or an ARN, not the name of a bucket")
    if value and not _BUCKET.fullmatch(value):
        raise ValueError("is not the name of a bucket: it has 3 to 63 small letters, digits, dots and hyphens")
    return value


def _resource(arn: re.Match[str]) -> str:
    """Return a description of the resource of an ARN, such as "the ARN of a rule". It does not repeat the ARN."""
    match arn["service"], re.split("[/:]", arn["resource"])[0]:
        case "events", "rule":
            return "the ARN of a rule"
        case "events", "event-source":
            return "the ARN of a partner event source"
        case "events", "event-bus":
            return "an ARN of an event bus that is not complete"
        case "events" | "pipes" | "scheduler" | "schemas", _:
            return "the ARN of another part of EventBridge"
        case "iam", _:
            return "an ARN of IAM"
        case _:
            return "the ARN of another service"


def region(value: str) -> str:
    """Return the name of a region. Raise ValueError if it is not in the form of AWS."""
    if not value:
        raise ValueError("is empty")
    if _AVAILABILITY_ZONE.fullmatch(value):
        raise ValueError("is an availability zone: leave out the letter at its end")
    if _REGION.fullmatch(value.lower().replace("_", "-")) and not _REGION.fullmatch(value):
        raise ValueError("is not in the form of AWS: write it in small letters with hyphens, such as eu-west-1")
    if not _REGION.fullmatch(value):
        raise ValueError("is not an AWS region such as eu-west-1")
    return value


def require_bus_region(event_bus: str, region: str) -> None:
    """Raise ValueError if the bus is an ARN of another region. The message begins with the name of the field."""
    found = _ARN.fullmatch(event_bus)
    if found and found["region"] != region:
        other = found["region"]
        raise ValueError(
            f'event_bus is an ARN of {other}, and region is {region}: set region = "{other}", or the ARN of a bus in'
            f" {region}"
        )


def require_endpoint_region(endpoint_url: str, region: str) -> None:
    """Raise ValueError if an endpoint of AWS is global, or of another service or region.

    The message begins with the name of the field. AWS refuses the signature of another region, so it would accept no
    event.
    """
    host = (urlsplit(endpoint_url).hostname or "").lower()
    if _GLOBAL_ENDPOINT.fullmatch(host):
        raise ValueError("endpoint_url is a global endpoint, which is not supported: leave it out, or name a region's")
    if not (found := _AWS_HOST.fullmatch(host)):
        return
    if found["service"] != "events":
        raise ValueError(
            "endpoint_url is an endpoint of another service of AWS: that of EventBridge begins with events"
        )
    if found["region"] != region:
        other = found["region"]
        raise ValueError(
            f'endpoint_url is an endpoint in {other}, and region is {region}: set region = "{other}", or the endpoint'
            f" in {region}"
        )


def role(value: str) -> str:
    """Return the ARN of a role, or an empty text. Raise ValueError for any other text."""
    if not value or _ROLE.fullmatch(value):
        return value
    found = _ARN.fullmatch(value)
    match found and (found["service"], re.split("[/:]", found["resource"])[0]):
        case "iam", "user":
            raise ValueError("is the ARN of a user: only a role can be assumed")
        case "sts", "assumed-role":
            raise ValueError("is the ARN of a role's session: give that of the role, arn:aws:iam::…:role/NAME")
        case "iam", "instance-profile":
            raise ValueError("is the ARN of an instance profile: give that of its role, arn:aws:iam::…:role/NAME")
        case _:
            raise ValueError("is not the ARN of a role such as arn:aws:iam::123456789012:role/NAME")
