"""The description of a failed connection: message and hint."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkProblem:
    """A failed connection. `message` names the peer and the cause, `hint` the fix. Neither holds a secret."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class ConnectionAttempt:
    """A failed attempt to connect to `target`. `proxy` is `host:port`, or empty without a proxy.

    `ca_variable` is the variable that names trusted certificates for the target. `environ` is the environment. `peer`
    is the proxy if one is used, because the connection is made to the proxy.
    """

    target: str
    ca_variable: str
    proxy: str
    environ: Mapping[str, str]

    @property
    def peer(self) -> str:
        return f"the proxy {self.proxy}" if self.proxy else self.target

    def problem(self, cause: str, hint: str) -> NetworkProblem:
        """Return a problem with the target."""
        way = f" through the proxy {self.proxy}" if self.proxy else ""
        return NetworkProblem(f"{self.target} cannot be reached{way}: {cause}", hint)

    def peer_problem(self, cause: str, hint: str) -> NetworkProblem:
        """Return a problem with the peer: the proxy, or the target if there is no proxy."""
        if not self.proxy:
            return NetworkProblem(f"{self.target} cannot be reached: {cause}", hint)
        hint = f"check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; {hint}"
        return NetworkProblem(f"{self.target} cannot be reached: {self.peer}: {cause}", hint)


def exception_names(error: BaseException) -> set[str]:
    """Return the names of an error's classes. They identify errors of libraries that are not imported."""
    return {cls.__name__ for cls in type(error).__mro__}
