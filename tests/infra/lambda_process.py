"""A process that runs the handler of a Lambda function, as Lambda's runtime does.

It reads one event a line from standard input, and writes one line of JSON for each to standard output: null, or the
class and message of the error. The arguments are the folder of the code and the name of the module.
"""

import importlib
import json
import sys
from dataclasses import dataclass

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Context:
    """The parts of Lambda's context that Powertools reads."""

    function_name: str = "consumer"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:consumer"
    aws_request_id: str = "request"

    def get_remaining_time_in_millis(self) -> int:
        return TIMEOUT_SECONDS * 1000


def main(folder: str, module: str) -> None:
    sys.path.insert(0, folder)
    handler = importlib.import_module(module).handler
    for line in sys.stdin:
        try:
            handler(json.loads(line), Context())
        except Exception as error:  # noqa: BLE001  # Lambda catches every error, and tries the event again
            answer(f"{type(error).__name__}: {error}")
        else:
            answer(None)


def answer(value: str | None) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
