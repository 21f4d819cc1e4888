"""Everything that can go wrong, drawn once.

ForwarderError                  1
├── UsageError                  2    the command line asks for something impossible
├── SettingsError              78    the settings file or the environment
├── VaultError                 78    the master key or the sealed secrets
├── SourceError
│   ├── SourceUnavailable      69    the logs API cannot be reached, fails, or tells us to wait
│   ├── SourceRefused          77    the logs API refuses the key
│   ├── WorkflowNotFound       69    the logs API knows no such workflow
│   └── PageUnreadable         69    an answer that is no page of executions
│       └── PageUndecodable    69    a page whose JSON is broken inside: its records are read one by one
│           └── PageTooLarge   69    a page over the limit: likewise
├── DestinationError                 delivery is paused: nothing was accepted, and nothing is settled
│   ├── DestinationUnavailable 69    the bus cannot be reached, throttles or fails
│   └── DestinationPaused            a person has to change something first
│       ├── BusMissing         69    the bus does not exist
│       ├── BusUnverified      69    nobody can tell whether the bus exists
│       ├── EventsRefused      69    the bus refuses every event
│       └── DestinationRefused 77    the bus refuses the keys, the source or the clock
│           └── DescribeDenied 77    the keys are valid, and may not ask whether the bus exists
└── LedgerError                 1    the ledger cannot be read or written
    ├── LedgerLocked           75    another process is running on it
    └── LedgerUnavailable      75    it cannot be written now (disk full, read-only, busy)

A message names the fault and where it is, a hint how to correct it. Neither ever holds a secret.
"""

from collections.abc import Mapping


class ForwarderError(Exception):
    """The root. `hint` is a sentence on how to correct the error, or empty."""

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
    """`faults` says what is wrong with each setting, by its dotted name, where it is known which ones they are."""

    exit_code = 78

    def __init__(self, message: str, *, hint: str = "", faults: Mapping[str, str] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.faults = dict(faults or {})


class VaultError(ForwarderError):
    exit_code = 78


class SourceError(ForwarderError):
    exit_code = 69


class SourceUnavailable(SourceError):
    """`retry_after` is in seconds, and 0 where the API named no time."""

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
    """`digest` names the body in the log without telling what is in it."""

    def __init__(self, message: str, *, digest: str) -> None:
        super().__init__(message)
        self.digest = digest


class PageTooLarge(PageUndecodable):
    pass


class DestinationError(ForwarderError):
    """A reason for which delivery is paused. Entries stay pending: only a response to PutEvents settles them.

    `code` is the bus's own error code, or a short word of ours if it gave none.
    """

    exit_code = 69

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class DestinationUnavailable(DestinationError):
    """An outage, which ends without help."""


class DestinationPaused(DestinationError):
    """A refusal of everything. It is tried again, ever more rarely, until a person has changed something."""


class BusMissing(DestinationPaused):
    pass


class BusUnverified(DestinationPaused):
    """The check of the bus is refused, or the settings make no request that could be sent."""


class EventsRefused(DestinationPaused):
    pass


class DestinationRefused(DestinationPaused):
    exit_code = 77


class DescribeDenied(DestinationRefused):
    """A denial of DescribeEventBus alone. AssumeRole is denied with the same code, and means something else."""


class LedgerError(ForwarderError):
    pass


class LedgerLocked(LedgerError):
    exit_code = 75


class LedgerUnavailable(LedgerError):
    exit_code = 75
