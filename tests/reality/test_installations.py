"""Interpreters, installations and limits with which the forwarder cannot work.

The reports: a Python from source without SQLite or TLS, a wheel for another C library, a container or a unit whose
limit on threads is reached. Each ended in a traceback.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import MAX_COMMAND_SECONDS, PROGRAM, Installation

MISSING: Final = 'raise ModuleNotFoundError("No module named {0}", name="{0}")'
FOREIGN: Final = 'raise ImportError("/usr/lib/libc.so.6: version GLIBC_2.99 not found (required by {0})", name="{0}")'

NO_THREADS: Final = """
import _thread, threading
def start(*_, **__):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = threading._start_new_thread = start
if hasattr(threading, "_start_joinable_thread"):
    threading._start_joinable_thread = start
"""
"""A sitecustomize module that makes the start of any thread fail, as at the limit of threads."""


def broken(installation: Installation, tmp_path: Path, file: str, text: str) -> None:
    (folder := tmp_path / "first").mkdir()
    (folder / file).write_text(text)
    installation.env["PYTHONPATH"] = str(folder)


@pytest.mark.parametrize("module", ["_sqlite3", "_ssl", "zlib"])
def test_python_without_a_standard_module_is_named(installation: Installation, tmp_path: Path, module: str) -> None:
    broken(installation, tmp_path, f"{module}.py", MISSING.format(module))
    for command in ("status", "once"):
        done = installation.run_command(command)
        assert done.code == 1, command
        assert done.out == ""
        assert done.err.splitlines()[0] == f"error: this Python was built without its module {module}"
        assert len(done.err.splitlines()) == 2


@pytest.mark.parametrize("module", ["cryptography", "botocore", "aiohttp", "typer"])
def test_package_that_cannot_be_loaded_is_named(installation: Installation, tmp_path: Path, module: str) -> None:
    broken(installation, tmp_path, f"{module}.py", FOREIGN.format(module))
    done = installation.run_command("once")
    assert done.code == 1
    assert "GLIBC_2.99" in done.err
    assert "install it again" in done.err
    assert len(done.err.splitlines()) == 2


def test_python_without_ctypes_works(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, tmp_path: Path
) -> None:
    broken(installation, tmp_path, "_ctypes.py", MISSING.format("_ctypes"))
    fail(alloy, "x")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["x"]


FIPS_WITHOUT_PROVIDER: Final = """
openssl_conf = start
[start]
alg_section = algorithms
[algorithms]
default_properties = fips=yes
"""


@pytest.mark.parametrize("command", ["once", "run", "check"])
def test_fips_mode_without_its_provider_is_named(installation: Installation, tmp_path: Path, command: str) -> None:
    (file := tmp_path / "openssl.cnf").write_text(FIPS_WITHOUT_PROVIDER)
    installation.env["OPENSSL_CONF"] = str(file)
    done = installation.run_command(command)
    assert done.code == 1
    assert "OpenSSL lacks a required function" in done.output
    assert "FIPS" in done.output
    assert "the output" not in done.output


def test_limit_of_threads_is_named(installation: Installation, tmp_path: Path) -> None:
    broken(installation, tmp_path, "sitecustomize.py", NO_THREADS)
    for command in ("once", "run", "check"):
        done = installation.run_command(command)
        assert done.code == 1, command
        assert "no more threads can be started" in done.output, command
        assert "TasksMax" in done.output, command
        assert "Traceback" not in done.output, command


as_root_with_unshare = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root makes a namespace of processes, by unshare(1)",
)


@as_root_with_unshare
def test_first_process_of_a_container_stops_on_sigterm(installation: Installation) -> None:
    """The kernel has no default actions for process 1, which SIGTERM ends only if it is handled."""
    done = as_first_process(installation, "until grep -q started log; do sleep 0.1; done; kill -TERM 1")
    assert done.returncode == 0, done


@as_root_with_unshare
def test_first_process_that_is_loading_stops_on_sigterm(installation: Installation, tmp_path: Path) -> None:
    """A pod that is deleted while its image is pulled gets the signal once, as soon as its container starts."""
    broken(installation, tmp_path, "typer.py", "import time; open('loading', 'w').close(); time.sleep(60)")
    begun = time.monotonic()
    done = as_first_process(installation, "until [ -e loading ]; do sleep 0.1; done; kill -TERM 1")
    assert done.returncode == 128 + signal.SIGTERM, done
    assert time.monotonic() - begun < 30


def as_first_process(installation: Installation, beside: str) -> subprocess.CompletedProcess[bytes]:
    """Run the daemon as process 1 of a namespace, with its log in the file `log`, and a shell script beside it."""
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
    return subprocess.run(  # noqa: S603 - the program under test
        [*inside, f'({beside}) & exec "$@" 2>log', "sh", *PROGRAM, "-c", str(installation.settings_file), "run"],
        env=installation.environment(),
        cwd=installation.directory,
        capture_output=True,
        timeout=MAX_COMMAND_SECONDS,
        check=False,
    )
