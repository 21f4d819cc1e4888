"""The matching of events by a rule's pattern, as the EventBridge user guide describes it ("Event patterns").

Implemented: every field of the pattern must match with any of its values; an array in the event matches by any of its
members, and an array of objects if one member satisfies the whole pattern; `$or`; numbers are compared as written
(300 is not 300.0); prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric and exists.
Not implemented: cidr, anything-but against an array, and AWS's limits on a pattern's size and wildcards. They and other
operators raise UnsupportedOperatorError, so that no recipe relies on them.
"""

import json
import operator
import re
from collections.abc import Callable
from typing import Any

_ABSENT: Any = object()
_COMPARISONS = {"<": operator.lt, "<=": operator.le, "=": operator.eq, ">=": operator.ge, ">": operator.gt}


class UnsupportedOperatorError(Exception):
    pass


def matches(pattern: dict[str, Any], event: Any) -> bool:
    if isinstance(event, list):
        return any(matches(pattern, member) for member in event)
    return all(_field(name, expected, event) for name, expected in pattern.items())


def _field(name: str, expected: Any, event: Any) -> bool:
    if name == "$or":
        return any(matches(choice, event) for choice in expected)
    actual = event.get(name, _ABSENT) if isinstance(event, dict) else _ABSENT
    if isinstance(expected, dict):
        return matches(expected, {} if actual is _ABSENT else actual)
    if not isinstance(expected, list) or not expected:
        raise UnsupportedOperatorError(f"{name} must be an object, or an array with something in it")
    return any(_value(choice, actual) for choice in expected)


def _value(expected: Any, actual: Any) -> bool:
    if isinstance(expected, dict):
        ((operator_name, argument),) = expected.items()
        if operator_name == "exists":
            return bool(argument) is not (actual is _ABSENT or isinstance(actual, dict))
        if actual is _ABSENT:
            return False
        if operator_name == "anything-but":
            return _anything_but(argument, actual)
        return _any_member(actual, lambda member: _test(operator_name, argument, member))
    return actual is not _ABSENT and _any_member(actual, lambda member: _is_same(expected, member))


def _any_member(actual: Any, test: Callable[[Any], bool]) -> bool:
    return any(test(member) for member in actual) if isinstance(actual, list) else test(actual)


def _is_same(expected: Any, actual: Any) -> bool:
    return not isinstance(actual, dict) and json.dumps(expected) == json.dumps(actual)


def _anything_but(argument: Any, actual: Any) -> bool:
    if isinstance(actual, (list, dict)):
        raise UnsupportedOperatorError("anything-but against an array or an object is not implemented")
    if isinstance(argument, dict):
        ((operator_name, inner),) = argument.items()
        return not any(_test(operator_name, one, actual) for one in (inner if isinstance(inner, list) else [inner]))
    return not any(_is_same(one, actual) for one in (argument if isinstance(argument, list) else [argument]))


def _test(operator_name: str, argument: Any, actual: Any) -> bool:
    if operator_name == "numeric":
        return _numeric(argument, actual)
    if operator_name not in _TEXT_TESTS:
        raise UnsupportedOperatorError(f"{operator_name} is not implemented")
    if isinstance(argument, dict):
        ((inner, argument),) = argument.items()
        if inner != "equals-ignore-case":
            raise UnsupportedOperatorError(f"{operator_name} of {inner} is not implemented")
        return isinstance(actual, str) and _TEXT_TESTS[operator_name](actual.lower(), argument.lower())
    return isinstance(actual, str) and _TEXT_TESTS[operator_name](actual, argument)


def _numeric(bounds: list[Any], actual: Any) -> bool:
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    is_number = isinstance(actual, (int, float)) and not isinstance(actual, bool)
    return is_number and all(_COMPARISONS[name](actual, limit) for name, limit in pairs)


def _wildcard(actual: str, pattern: str) -> bool:
    parts = re.split(r"(?<!\\)\*", pattern)
    literal = (re.escape(part.replace(r"\*", "*").replace(r"\\", "\\")) for part in parts)
    return re.fullmatch(".*".join(literal), actual, re.DOTALL) is not None


_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "prefix": str.startswith,
    "suffix": str.endswith,
    "equals-ignore-case": lambda actual, expected: actual.lower() == expected.lower(),
    "wildcard": _wildcard,
}
