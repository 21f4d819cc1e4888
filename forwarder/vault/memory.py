"""The protection of keys in memory: the process writes no core dump."""

import resource
import sys

PR_SET_DUMPABLE = 4
"""The number of the option in <linux/prctl.h>."""


def forbid_core_dumps() -> None:
    """Prevent core dumps of this process.

    On Linux, the limit of their size is not enough: the kernel pipes a core to a handler such as systemd-coredump or
    apport whatever the limit is (core(5)). It does not do this for a process that is not dumpable. Only root can read
    the files of such a process in /proc, or attach a debugger to it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        try:
            import ctypes  # noqa: PLC0415  # a Python that was built without libffi lacks it

            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        except (ImportError, OSError, AttributeError):  # no ctypes, or no C library that it can load; the limit stands
            return
