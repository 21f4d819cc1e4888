"""The modules that a command loads: a program that starts slowly, or fails while it loads, explains nothing."""

import subprocess
import sys
from pathlib import Path

SDK = {"aiohttp", "botocore", "aiobotocore", "httpx"}


def loaded_by(code: str, *arguments: str, exit_code: int = 0) -> set[str]:
    """Return the modules of SDK that a program has loaded when it ends with the given code."""
    code = f"import atexit, sys; atexit.register(lambda: print(*{SDK} & sys.modules.keys())); {code}"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own
    assert done.returncode == exit_code, done.stderr
    return set(done.stdout.split())


def test_command_line_loads_without_the_aws_sdk() -> None:
    """The SDK takes 0.3 s to load. aiohttp also fails while it loads, if OpenSSL is broken, with a traceback."""
    assert loaded_by("import forwarder.cli") == set()


def test_health_with_a_shared_ledger_loads_no_aws_sdk(tmp_path: Path) -> None:
    """A container of a fleet runs it every 30 s, on a quarter of a processor."""
    settings = tmp_path / "forwarder.toml"
    settings.write_text(
        "[ledger]\nurl = 'dynamodb://forwarder-ledger?region=eu-west-1'\n[web]\nlisten = '127.0.0.1:1'\n"
    )
    main = "from forwarder.cli import main; main()"
    assert loaded_by(main, "-c", str(settings), "health", exit_code=69) == set()
