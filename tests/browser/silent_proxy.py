"""A proxy of bytes whose connections can fall silent: they stay open, and their bytes vanish, as behind a NAT."""

import selectors
import socket
import threading
from typing import Self


class SilentProxy:
    """Forwards bytes to an address. A connection falls silent if it sends any of `silenced`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._sent: dict[socket.socket, bytes] = {}
        """The last request of each client."""
        self._silent: set[socket.socket] = set()
        self.silenced: list[bytes] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()

    def count(self, sent: bytes) -> int:
        """Return the number of open connections that have sent these bytes last."""
        return sum(sent in data for data in list(self._sent.values()))

    def silence(self, sent: bytes) -> int:
        """Silence the open connections that have sent these bytes last. Return their number."""
        found = [client for client, data in list(self._sent.items()) if sent in data]
        self._silent.update(found)
        return len(found)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._stopping:
                for key, _ in selector.select(0.1):
                    if key.fileobj is self._listener:
                        self._accept(selector)
                    elif (
                        isinstance(key.fileobj, socket.socket) and key.fileobj in self._peers
                    ):  # its peer may have closed it
                        self._forward(selector, key.fileobj)
            for each in self._peers:
                each.close()

    def _accept(self, selector: selectors.BaseSelector) -> None:
        client = self._listener.accept()[0]
        try:
            server = socket.create_connection(self._target)
        except OSError:  # the program has ended, and a browser still opens connections in advance
            client.close()
            return
        self._peers |= {client: server, server: client}
        self._sent[client] = b""
        for each in (client, server):
            selector.register(each, selectors.EVENT_READ)

    def _forward(self, selector: selectors.BaseSelector, source: socket.socket) -> None:
        peer = self._peers[source]
        client = source if source in self._sent else peer
        try:
            data = source.recv(65_536)
        except OSError:
            data = b""
        if source is client:
            self._sent[client] = data
            if any(each in data for each in self.silenced):
                self._silent.add(client)
        if data and client in self._silent:
            return
        try:
            peer.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._sent.pop(client, None)
            for each in (source, peer):
                selector.unregister(each)
                each.close()
                del self._peers[each]
