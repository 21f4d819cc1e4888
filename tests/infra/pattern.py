"""Whether a rule's pattern matches an event, as the EventBridge user guide says ("Event patterns").

Followed: every field of the pattern must match, and any of its values; an array in the event matches by any of its
members, and one of objects where a single member satisfies everything that is asked of it; `$or`; numbers as they
are written (300 is not 300.0); prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric and exists.
Not done: cidr, anything-but against an array, and the limits that AWS sets on a pattern's size and wildcards.
What is not done raises NotDone, so that no recipe rests on it.
"""

import json
import operator
import re
from collections.abc import Callable
from typing import Any

_ABSENT: Any = object()
_COMPARISONS = {"<": operator.lt, "<=": operator.le, "=": operator.eq, ">=": operator.ge, ">": operator.gt}


class NotDone(Exception):
    pass


def matches(pattern: dict[str, Any], event: Any) -> bool:
    if isinstance(event, list):
        return any(matches(pattern, member) for member in event)
    return all(_field(name, wanted, event) for name, wanted in pattern.items())


def _field(name: str, wanted: Any, event: Any) -> bool:
    if name == "$or":
        return any(matches(choice, event) for choice in wanted)
    found = event.get(name, _ABSENT) if isinstance(event, dict) else _ABSENT
    if isinstance(wanted, dict):
        return matches(wanted, {} if found is _ABSENT else found)
    if not isinstance(wanted, list) or not wanted:
        raise NotDone(f"{name} must be an object, or an array with something in it")
    return any(_value(choice, found) for choice in wanted)


def _value(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict):
        ((kind, argument),) = wanted.items()
        if kind == "exists":
            return bool(argument) is not (found is _ABSENT or isinstance(found, dict))
        if found is _ABSENT:
            return False
        if kind == "anything-but":
            return _anything_but(argument, found)
        return _any_member(found, lambda member: _test(kind, argument, member))
    return found is not _ABSENT and _any_member(found, lambda member: _same(wanted, member))


def _any_member(found: Any, test: Callable[[Any], bool]) -> bool:
    return any(test(member) for member in found) if isinstance(found, list) else test(found)


def _same(wanted: Any, found: Any) -> bool:
    return not isinstance(found, dict) and json.dumps(wanted) == json.dumps(found)


def _anything_but(argument: Any, found: Any) -> bool:
    if isinstance(found, (list, dict)):
        raise NotDone("anything-but against an array or an object is not done here")
    if isinstance(argument, dict):
        ((kind, inner),) = argument.items()
        return not any(_test(kind, one, found) for one in (inner if isinstance(inner, list) else [inner]))
    return not any(_same(one, found) for one in (argument if isinstance(argument, list) else [argument]))


def _test(kind: str, argument: Any, found: Any) -> bool:
    if kind == "numeric":
        return _numeric(argument, found)
    if kind not in _TEXT_TESTS:
        raise NotDone(f"{kind} is not done here")
    if isinstance(argument, dict):
        ((inner, argument),) = argument.items()
        if inner != "equals-ignore-case":
            raise NotDone(f"{kind} of {inner} is not done here")
        return isinstance(found, str) and _TEXT_TESTS[kind](found.lower(), argument.lower())
    return isinstance(found, str) and _TEXT_TESTS[kind](found, argument)


def _numeric(bounds: list[Any], found: Any) -> bool:
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    return is_number and all(_COMPARISONS[name](found, limit) for name, limit in pairs)


def _wildcard(found: str, pattern: str) -> bool:
    parts = re.split(r"(?<!\\)\*", pattern)
    literal = (re.escape(part.replace(r"\*", "*").replace(r"\\", "\\")) for part in parts)
    return re.fullmatch(".*".join(literal), found, re.DOTALL) is not None


_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "prefix": str.startswith,
    "suffix": str.endswith,
    "equals-ignore-case": lambda found, wanted: found.lower() == wanted.lower(),
    "wildcard": _wildcard,
}
