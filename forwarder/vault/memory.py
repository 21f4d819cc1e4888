"""The protection of keys in memory: they do not get into core dumps."""

import resource
import sys

PR_SET_DUMPABLE = 4
"""The value in <linux/prctl.h>."""


def forbid_core_dumps() -> None:
    """Make a crash of this process leave no core file.

    The limit alone is not enough on Linux: a handler that the kernel pipes the core to, such as systemd-coredump or
    apport, is started whatever the limit (core(5)). A process that is not dumpable starts none. Only root can read the
    files of such a process in /proc, or attach a debugger to it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        try:
            import ctypes  # noqa: PLC0415  # a Python that was built without libffi lacks it

            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        except (ImportError, OSError, AttributeError):  # no ctypes, or no C library that it can load; the limit stands
            return
