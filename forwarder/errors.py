"""The tree of all errors, with their exit codes.

ForwarderError                  1
├── UsageError                  2    the command line asks for something impossible
├── SettingsError              78    the settings file or the environment
├── AddressUnavailable         75    an address that the web server cannot bind now: another process listens there
├── ListenerUnreachable        69    the daemon does not respond at its address
├── ListenerNotConfigured      78    the settings do not name the address of the daemon
├── VaultError                 78    the master key or the sealed secrets
│   └── SecretMissing          78    the vault opens, and does not hold a secret that is required
├── SourceError                69
│   ├── SourceUnavailable      69    the logs API cannot be reached, fails, or requests a pause
│   ├── SourceRefused          77    the logs API refuses the key
│   ├── WorkflowNotFound       69    the logs API knows no such workflow
│   └── PageUnreadable         69    a response that is no page of executions
│       └── PageUndecodable    69    a page with broken JSON: its records are read one by one
│           └── PageTooLarge   69    a page over the size limit: its records are read one by one
├── DestinationError           69    delivery is paused: nothing was accepted, and nothing is settled
│   ├── DestinationUnavailable 69    the bus cannot be reached, throttles or fails
│   ├── DestinationPaused      69    a person has to change something first
│   │   ├── BusMissing         69    the bus does not exist
│   │   ├── BusUnverified      69    it is unknown whether the bus exists
│   │   ├── EventsRefused      69    the bus refuses every event
│   │   └── DestinationRefused 77    the bus refuses the keys, the source or the clock
│   │       ├── DescribeDenied 77    the keys are valid, but may not check whether the bus exists
│   │       └── CanaryQueueRefused 77    the keys may not read the queue of test events
│   ├── CanaryQueueMissing     69    the queue of test events does not exist or cannot be read
│   └── EventNotArrived        69    the bus accepted a test event that did not arrive in the queue
├── PayloadStoreError          69    the bucket refuses a payload
│   └── PayloadStoreUnavailable 69    the bucket cannot be reached, throttles or fails
└── LedgerError                 1    the ledger cannot be read or written
    ├── LedgerLocked           75    another process is running on it
    └── LedgerUnavailable      75    the ledger cannot be written now (disk full, read-only, busy)
        ├── AuditInterrupted   75    other processes change the ledger while its items are counted
        └── LedgerDenied       75    the keys may not make a request
            └── AuditDenied    75    the keys may not make a request that only an audit makes

`forwarder demo` has an error of its own. A message names the fault and its place. A hint says how to correct it.
Neither ever holds a secret.
"""

from collections.abc import Mapping
from typing import Final

INTERRUPTED_EXIT_CODE: Final = 130
"""The exit code of a command that Ctrl-C ended, as in shells. SIGTERM ends `once` in the same way."""


class ForwarderError(Exception):
    """The root of all errors. `hint` is a sentence that says how to correct the error, or empty."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(ForwarderError):
    exit_code = 2


class SettingsError(ForwarderError):
    """An error in the settings. `faults` maps the dotted names of the settings at fault, if known, to descriptions."""

    exit_code = 78

    def __init__(self, message: str, *, hint: str = "", faults: Mapping[str, str] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.faults = dict(faults or {})


class AddressUnavailable(ForwarderError):
    exit_code = 75


class ListenerUnreachable(ForwarderError):
    exit_code = 69


class ListenerNotConfigured(ForwarderError):
    exit_code = 78


class VaultError(ForwarderError):
    exit_code = 78


class SecretMissing(VaultError):
    pass


class SourceError(ForwarderError):
    exit_code = 69


class SourceUnavailable(SourceError):
    """An outage of the logs API. `retry_after` is in seconds, or 0 if the API named no time."""

    def __init__(self, message: str, *, hint: str = "", retry_after: float = 0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class SourceRefused(SourceError):
    exit_code = 77


class WorkflowNotFound(SourceError):
    pass


class PageUnreadable(SourceError):
    pass


class PageUndecodable(PageUnreadable):
    """A page with broken JSON. `digest` identifies the body in the log without its content.

    `has_several_records` is True if the body names more than one execution.
    """

    def __init__(self, message: str, *, digest: str, has_several_records: bool = False) -> None:
        super().__init__(message)
        self.digest = digest
        self.has_several_records = has_several_records


class PageTooLarge(PageUndecodable):
    pass


class DestinationError(ForwarderError):
    """A reason to pause delivery. Entries stay pending, because only a response to PutEvents settles them.

    `code` is the error code of AWS, or a short code of the forwarder if AWS returned none.
    """

    exit_code = 69

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class DestinationUnavailable(DestinationError):
    """An outage that ends without the help of a person."""


class DestinationPaused(DestinationError):
    """A refusal of all requests. Delivery tries again, at increasing intervals, until a person changes something."""


class BusMissing(DestinationPaused):
    pass


class BusUnverified(DestinationPaused):
    """A failed check of the bus: AWS refuses the request, or the settings make a request that cannot be sent."""


class EventsRefused(DestinationPaused):
    pass


class DestinationRefused(DestinationPaused):
    exit_code = 77


class DescribeDenied(DestinationRefused):
    """A denial of DescribeEventBus. A denial of AssumeRole has the same code, but is not this error."""


class PayloadStoreError(ForwarderError):
    """A refusal to store a payload. Its event is trimmed."""

    exit_code = 69


class PayloadStoreUnavailable(PayloadStoreError):
    """An outage of the store of payloads."""


class CanaryQueueRefused(DestinationRefused):
    """A denial to read the queue of test events. It says nothing about publishing."""


class CanaryQueueMissing(DestinationError):
    """A queue of test events that does not exist, or that cannot be read for another reason."""


class EventNotArrived(DestinationError):
    """A test event that the bus accepted, and that did not arrive in the queue in time."""


class LedgerError(ForwarderError):
    pass


class LedgerLocked(LedgerError):
    exit_code = 75


class LedgerUnavailable(LedgerError):
    exit_code = 75


class LedgerDenied(LedgerUnavailable):
    """A denial of a request, for lack of a right."""


class AuditInterrupted(LedgerUnavailable):
    """An audit that proves nothing, because other processes changed the ledger while its items were counted."""


class AuditDenied(LedgerDenied):
    """A denial to read all items, which only an audit does. It says nothing about the rights that a run needs."""
