"""The process of a `credential_process` setting, with a limit for its output. A cancelled wait kills the process."""

import asyncio
import contextlib
import os
import signal
import subprocess
from typing import Any

from forwarder.aws.credential_causes import ProcessError
from forwarder.aws.credential_sources import for_display

MAX_PROCESS_OUTPUT_BYTES = 65_536
"""The limit of each output stream of a `credential_process`. A usual output has about 2 KiB."""


class CredentialProcess:
    """A `credential_process` in its own process group, which is killed when the wait for it is cancelled."""

    def __init__(self, process: asyncio.subprocess.Process, program: str) -> None:
        self._process = process
        self._program = program
        self.returncode: int | None = None

    @classmethod
    async def start(cls, *command: str, **_pipes: Any) -> "CredentialProcess":
        """Start a command, as the SDK starts it. Raise ProcessError if it cannot be started."""
        if not command:
            raise ProcessError("credential_process is empty")
        program = for_display(command[0])
        try:
            # It has no input and no terminal, because nobody sees a prompt of a daemon.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
            raise ProcessError(f"{program} cannot be started: {reason}") from None
        return cls(process, program)

    async def communicate(self) -> tuple[bytes, bytes]:
        """Return standard output and standard error. Raise ProcessError if the process fails or exceeds the limit."""
        try:
            out, err = await asyncio.gather(self._read(self._process.stdout), self._read(self._process.stderr))
            self.returncode = await self._process.wait()
        except BaseException:
            self._kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._process.communicate()  # unread output keeps the pipes open
            raise
        if max(len(out), len(err)) > MAX_PROCESS_OUTPUT_BYTES:
            raise ProcessError(f"{self._program} writes more than {MAX_PROCESS_OUTPUT_BYTES} bytes")
        if self.returncode:
            raise ProcessError.from_exit(self._program, self.returncode, err)
        return out, err

    async def _read(self, stream: asyncio.StreamReader | None) -> bytes:
        """Return the whole output. If it exceeds the limit, kill the process and return the beginning."""
        read = b""
        while stream is not None and (chunk := await stream.read(MAX_PROCESS_OUTPUT_BYTES)):
            if len(read) <= MAX_PROCESS_OUTPUT_BYTES:
                read += chunk
            else:
                self._kill()
        return read

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its children can keep the pipes open
