"""What an identity policy decides, by IAM's rules: what no statement allows is refused, and a denial wins.

Known are Effect, Action, Resource and these condition operators: StringEquals and ArnEquals, whose values are
alternatives, and whose keys must be there; ForAllValues:StringEquals, which holds of a key that is not there, too; and
Null, which tells whether it is. Anything else in a policy raises KeyError: it is not judged here.
"""

import re
from collections.abc import Mapping
from typing import Any

_PARTS = {"Sid", "Effect", "Action", "Resource", "Condition"}


Context = Mapping[str, str | list[str]]


def allows(policy: dict[str, Any], action: str, resource: str, context: Context) -> bool:
    effects = {
        statement["Effect"] for statement in policy["Statement"] if _applies(statement, action, resource, context)
    }
    return "Allow" in effects and "Deny" not in effects


def _applies(statement: dict[str, Any], action: str, resource: str, context: Context) -> bool:
    if unknown := statement.keys() - _PARTS:
        raise KeyError(unknown)
    return (
        any(_like(pattern.lower(), action.lower()) for pattern in _several(statement["Action"]))
        and any(_like(pattern, resource) for pattern in _several(statement["Resource"]))
        and all(_holds(kind, keys, context) for kind, keys in statement.get("Condition", {}).items())
    )


def _holds(kind: str, keys: dict[str, Any], context: Context) -> bool:
    match kind:
        case "StringEquals" | "ArnEquals":
            return all(context.get(key) in _several(values) for key, values in keys.items())
        case "ForAllValues:StringEquals":
            return all(set(_several(context.get(key, []))) <= set(_several(values)) for key, values in keys.items())
        case "Null":
            return all((key not in context) == (value == "true") for key, value in keys.items())
        case _:
            raise KeyError(kind)


def _like(pattern: str, text: str) -> bool:
    literal = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(literal, text) is not None


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
