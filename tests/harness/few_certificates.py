"""A short list of trusted certificates for the SDK in the tests: it reads the list again for each of its clients.

The SDK's own list of 140 certificates takes 25 ms of processor time for each client, also for an endpoint without TLS.
A test of TLS names its own file. With `--long` the SDK reads its own list.
"""

import os

import botocore.httpsession

END = "-----END CERTIFICATE-----\n"


def trust_few_certificates() -> None:
    """Let the SDK trust the first of its certificates only, in this process and in its forks."""
    if not hasattr(os, "memfd_create"):
        return
    with open(botocore.httpsession.where(), encoding="utf-8") as file:  # noqa: PTH123  # a text of the SDK
        first = file.read().partition(END)[0] + END
    descriptor = os.memfd_create("certificates")
    os.write(descriptor, first.encode())
    path = f"/proc/self/fd/{descriptor}"  # a fork has it too, and no file is left
    botocore.httpsession.where = lambda: path
