"""Relays between a node and the open door that record what passes."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path


class Relay:
    """Listens on a port of loopback, passes on, and keeps the bytes of each direction of each connection.

    Args:
      target: the open door's port.
      server: the coordinator's folder. With it, the relay opens the TLS with the server's own key, and what it keeps is
        what was encrypted; without, it keeps what is on the wire.
    """

    def __init__(self, target: int, server: Path | None = None) -> None:
        self._target, self._server = target, server
        self.streams: list[bytearray] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                channel, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=[channel], daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            far = socket.create_connection(("127.0.0.1", self._target))
            if self._server is not None:
                ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                ours.load_cert_chain(self._server / "server.pem", self._server / "server.key")
                near = ours.wrap_socket(near, server_side=True)
                theirs = ssl.create_default_context(cafile=str(self._server / "ca.pem"))
                far = theirs.wrap_socket(far, server_hostname="127.0.0.1")
            for source, sink in ((near, far), (far, near)):
                kept = bytearray()
                self.streams.append(kept)
                threading.Thread(target=_pass, args=[source, sink, kept], daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    try:
        while block := source.recv(65536):
            kept += block
            sink.sendall(block)
    except OSError:
        pass
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def is_tls(stream: bytes) -> bool:
    """Returns whether a stream is TLS records only (RFC 8446, 5.1); the last one may be cut off."""
    at = 0
    while at + 5 <= len(stream):
        kind, version, length = stream[at], stream[at + 1 : at + 3], int.from_bytes(stream[at + 3 : at + 5], "big")
        if kind not in (20, 21, 22, 23) or version not in (b"\3\1", b"\3\3") or length > 2**14 + 256:
            return False
        at += 5 + length
    return True
