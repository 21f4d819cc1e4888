"""The decoding of JSON that another program wrote: a response, a request, a file, an environment variable.

This module alone knows which exceptions such bytes can cause in a decoder.
"""

from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

JSON_ERRORS = (ValueError, RecursionError)
"""The exceptions of `msgspec.json` and of `json` for untrusted data, on every supported Python.

Malformed JSON is a `msgspec.DecodeError` or a `json.JSONDecodeError`, a wrong type a `msgspec.ValidationError`, invalid
UTF-8 a `UnicodeDecodeError`, and half a surrogate pair in a `str` a `UnicodeEncodeError`: each of them is a ValueError.
Deep nesting is a RecursionError. Its depth depends on the version of Python and on the calls that are in progress.
"""

_any_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


@overload
def decode_or_none(data: bytes | str | msgspec.Raw) -> Any: ...


@overload
def decode_or_none(data: bytes | str | msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T | None: ...


def decode_or_none(data: bytes | str | msgspec.Raw, decoder: msgspec.json.Decoder[Any] = _any_decoder) -> Any:
    """Return the decoded value, or None if the data is not JSON of the decoder's type. JSON's null is None as well."""
    try:
        return decoder.decode(data)
    except JSON_ERRORS:
        return None


def is_json(data: bytes | str) -> bool:
    """Return whether the data is one JSON value."""
    try:
        _any_decoder.decode(data)
    except JSON_ERRORS:
        return False
    return True
