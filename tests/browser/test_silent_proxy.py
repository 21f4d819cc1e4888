"""The proxy of the browser tests, without a browser."""

import socket

from tests.browser.silent_proxy import SilentProxy


def test_proxy_closes_a_connection_that_nobody_accepts() -> None:
    """A browser opens connections in advance, also after the program behind the proxy has ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with SilentProxy(address) as proxy:
            server.close()
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as client:
                    assert client.recv(1) == b""
