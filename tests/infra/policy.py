"""The decision of an identity policy by IAM's rules: only allowed calls are permitted, and a denial wins.

It implements Effect, Action, Resource and these condition operators: StringEquals and ArnEquals, whose values are
alternatives, and whose keys must exist; ForAllValues:StringEquals and ForAllValues:StringLike, which also hold for a
missing key; and Null, which tests whether a key is missing. Other parts of a policy raise KeyError.
"""

import re
from collections.abc import Mapping
from typing import Any

_STATEMENT_KEYS = {"Sid", "Effect", "Action", "Resource", "Condition"}


Context = Mapping[str, str | list[str]]


def allows(policy: dict[str, Any], action: str, resource: str, context: Context) -> bool:
    effects = {
        statement["Effect"] for statement in policy["Statement"] if _applies(statement, action, resource, context)
    }
    return "Allow" in effects and "Deny" not in effects


def _applies(statement: dict[str, Any], action: str, resource: str, context: Context) -> bool:
    if unknown := statement.keys() - _STATEMENT_KEYS:
        raise KeyError(unknown)
    return (
        any(_matches_wildcard(pattern.lower(), action.lower()) for pattern in _as_list(statement["Action"]))
        and any(_matches_wildcard(pattern, resource) for pattern in _as_list(statement["Resource"]))
        and all(
            _is_condition_met(condition_operator, keys, context)
            for condition_operator, keys in statement.get("Condition", {}).items()
        )
    )


def _is_condition_met(condition_operator: str, keys: dict[str, Any], context: Context) -> bool:
    match condition_operator:
        case "StringEquals" | "ArnEquals":
            return all(context.get(key) in _as_list(values) for key, values in keys.items())
        case "ForAllValues:StringEquals":
            return all(set(_as_list(context.get(key, []))) <= set(_as_list(values)) for key, values in keys.items())
        case "ForAllValues:StringLike":
            return all(
                any(_matches_wildcard(pattern, value) for pattern in _as_list(values))
                for key, values in keys.items()
                for value in _as_list(context.get(key, []))
            )
        case "Null":
            return all((key not in context) == (value == "true") for key, value in keys.items())
        case _:
            raise KeyError(condition_operator)


def _matches_wildcard(pattern: str, text: str) -> bool:
    literal = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(literal, text) is not None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
