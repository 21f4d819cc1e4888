"""Run a command as on a kernel without IPv6: `python -m tests.harness.without_ipv6 COMMAND …`."""

import ctypes
import errno
import os
import socket
import struct
import sys

SOCKET_CALLS = {"x86_64": 41, "aarch64": 198}
"""The number of the system call socket(2) on each kind of machine."""

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
CALL_OFFSET, FAMILY_OFFSET = 0, 16


class Program(ctypes.Structure):
    """A filter for system calls; see seccomp(2)."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_ipv6() -> None:
    """Let every socket of IPv6 fail in this process and its children. Raise OSError without seccomp."""
    instructions = (
        (LOAD_WORD, 0, 0, CALL_OFFSET),
        (JUMP_IF_EQUAL, 0, 3, SOCKET_CALLS[os.uname().machine]),
        (LOAD_WORD, 0, 0, FAMILY_OFFSET),
        (JUMP_IF_EQUAL, 0, 1, socket.AF_INET6),
        (RETURN, 0, 0, FAIL | errno.EAFNOSUPPORT),
        (RETURN, 0, 0, ALLOW),
    )
    packed = b"".join(struct.pack("HBBI", *each) for each in instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Program(len(instructions), packed)), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    refuse_ipv6()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  # ours
