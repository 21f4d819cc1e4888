"""The entry point of the program. It explains in one line why the rest of the program cannot be loaded."""

import sys

from forwarder.machine_errors import machine_error
from forwarder.printable import printable


def main() -> None:
    """Run the command line. If the program cannot be loaded, print the reason and exit with 1."""
    try:
        from forwarder.cli import main as run_command  # noqa: PLC0415  # it loads everything else
    except (ImportError, MemoryError) as error:
        if sys.stderr is not None and (explained := machine_error(error)):
            lines = f"error: {printable(explained.message)}\nhint:  {printable(explained.hint)}\n"
            sys.stderr.write(lines.encode("ascii", "backslashreplace").decode())
        sys.exit(1)
    run_command()


if __name__ == "__main__":
    main()
