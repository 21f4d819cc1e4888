"""The result of one check, and the mapping of any exception to it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from forwarder.errors import ForwarderError
from forwarder.machine_errors import machine_error


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check: a `message` if it succeeded, an `error` if it failed.

    If `skipped` is True, the check neither succeeded nor failed. One that was not tried has a `message`, and one that
    could not be completed has the `error` that prevented it.
    """

    name: str
    message: str = ""
    error: ForwarderError | None = None
    skipped: bool = False


async def run_check(name: str, attempt: Callable[[], Awaitable[str]]) -> CheckResult:
    """Run one check, and return its message or its error as a result."""
    try:
        return CheckResult(name, await attempt())
    except Exception as error:  # noqa: BLE001  # a bug in one check must not hide the others
        return CheckResult(name, error=to_forwarder_error(error))


CIRCULAR_HINT = ": `forwarder check`"
"""The end of hints that also appear in the log and in `status`. The reader of a check has just run it."""


def to_forwarder_error(error: Exception) -> ForwarderError:
    """Return the error itself if it is ours, else an error that explains it without its values."""
    if isinstance(error, ForwarderError):
        error.hint = error.hint.removesuffix(CIRCULAR_HINT)
        return error
    if explained := machine_error(error):
        return explained
    exception = type(error).__name__
    return ForwarderError(
        f"failed inside the forwarder: {exception}", hint="report this, with the version of the forwarder"
    )
