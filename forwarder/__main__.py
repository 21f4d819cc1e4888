"""The entry point of the program. It explains in one line why the rest of the program cannot be loaded."""

import os
import signal
import sys
from typing import NoReturn

from forwarder.machine_errors import machine_error
from forwarder.printable import printable


def main() -> None:
    """Run the command line. If the program cannot be loaded, print the reason and exit with 1."""
    if os.getpid() == 1:
        # The kernel drops a signal that process 1 of a container does not handle. A container that is stopped while the
        # program is loaded would run until it is killed.
        signal.signal(signal.SIGTERM, _end)
    try:
        from forwarder.cli import main as run_command  # noqa: PLC0415  # it loads everything else
    except (ImportError, MemoryError) as error:
        if sys.stderr is not None and (explained := machine_error(error)):
            lines = f"error: {printable(explained.message)}\nhint:  {printable(explained.hint)}\n"
            sys.stderr.write(lines.encode("ascii", "backslashreplace").decode())
        sys.exit(1)
    run_command()


def _end(number: int, _frame: object) -> NoReturn:
    """End the process like the default action of a signal, with the exit code that a shell reports."""
    os._exit(128 + number)


if __name__ == "__main__":
    main()
