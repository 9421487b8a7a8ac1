"""The only open door: a TLS proxy that lets Flower's fleet API through and nothing else.

In Flower 1.41 one port serves the fleet, the control and the runtime API, and the control API takes anyone's bundle.
The SuperLink therefore listens on loopback, and this proxy passes `POST /v1/fleet/<method>` on to it. A request is taken
apart and written anew, so that nothing rides along with it.
"""

import asyncio
import contextlib
import re
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

_REQUEST = re.compile(rb"POST /v1/fleet/[a-z]+(-[a-z]+)* HTTP/1\.1")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")
_NOT_PASSED = {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-authorization", b"expect", b"host"}
_HEAD_BYTES, _BLOCK = 16384, 65536
_IDLE_SECONDS, _START_SECONDS = 75.0, 20.0


@dataclass(frozen=True)
class Proxy:
    """What it passes on, and to whom.

    Attributes:
      backend_port: the SuperLink's port on loopback.
      folder: has server.pem, server.key and ca.pem.
      max_body_bytes: largest request.
    """

    backend_port: int
    folder: Path
    max_body_bytes: int = 2**29

    async def serve(self, listener: socket.socket) -> None:
        """Serves a socket that listens, until cancelled."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        server = await asyncio.start_server(self._connection, sock=listener, ssl=context, limit=_HEAD_BYTES)
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while (head := await _read_head(reader)) is not None:
                problem, length = check_request(head, self.max_body_bytes)
                if problem:
                    writer.write(f"HTTP/1.1 {problem}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                    await writer.drain()
                    return
                if backend is not None and backend[0].at_eof():  # the SuperLink hangs up after 5 quiet seconds
                    backend[1].close()
                    backend = None
                if backend is None:
                    backend = await self._connect()
                backend[1].write(rewritten(head))
                await _copy(reader, backend[1], length)
                if not await _relay_response(backend[0], writer):
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ssl.SSLError):
            pass
        finally:
            for open_writer in [writer, *([backend[1]] if backend else [])]:
                open_writer.close()
                with contextlib.suppress(OSError, ssl.SSLError):
                    await open_writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Waits a while for a SuperLink that is being started: nodes wait longer after each attempt that fails."""
        context, end = ssl.create_default_context(cafile=str(self.folder / "ca.pem")), time.monotonic() + _START_SECONDS
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", self.backend_port, ssl=context, limit=_HEAD_BYTES)
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)


def check_request(head: bytes, max_body_bytes: int) -> tuple[str, int]:
    """Returns the status of a refusal, or an empty string and the length of the body."""
    first, *lines = head.split(b"\r\n")
    if not _REQUEST.fullmatch(first):
        return "403 Forbidden", 0
    headers = [_HEADER.fullmatch(line) for line in lines]
    names = [h[1].lower() for h in headers if h]
    lengths = [h[2].strip() for h in headers if h and h[1].lower() == b"content-length"]
    if (
        None in headers
        or b"transfer-encoding" in names
        or len(lengths) != 1
        or not re.fullmatch(rb"\d{1,12}", lengths[0])
    ):
        return "400 Bad Request", 0
    length = int(lengths[0])
    return ("413 Content Too Large", 0) if length > max_body_bytes else ("", length)


def rewritten(head: bytes) -> bytes:
    """Returns a request's head as it goes to the SuperLink."""
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if line.split(b":")[0].lower() not in _NOT_PASSED]
    return b"\r\n".join([first, b"Host: 127.0.0.1", *kept]) + b"\r\n\r\n"


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _IDLE_SECONDS))[:-4]
    except asyncio.IncompleteReadError:
        return None


async def _relay_response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Copies one response; returns whether both connections can go on."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(head)
    found = re.search(rb"(?i)\r\ncontent-length:[ \t]*(\d+)", head)
    if found:
        await _copy(reader, writer, int(found[1]))
        return re.search(rb"(?i)\r\nconnection:[ \t]*close", head) is None
    while block := await reader.read(_BLOCK):  # chunked: up to the end of the connection
        writer.write(block)
        await writer.drain()
        if block.endswith(b"0\r\n\r\n"):
            return False
    return False


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    while length:
        block = await reader.read(min(length, _BLOCK))
        if not block:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(block)
        writer.write(block)
        await writer.drain()
    await writer.drain()


_NGINX = """# Include in the http block, and set `door = false` in server.toml: nginx is the door then.
upstream fedlm_superlink {{
    server 127.0.0.1:{backend};
    keepalive 16;
    keepalive_timeout 3s;  # the SuperLink hangs up after 5 quiet seconds; a request must not meet that
}}
server {{
    listen {port} ssl;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    client_max_body_size {megabytes}m;
    location ~ "^/v1/fleet/([a-z]+(?:-[a-z]+)*)\\z" {{
        limit_except POST {{ deny all; }}
        proxy_pass https://fedlm_superlink/v1/fleet/$1;  # the path is written anew: nothing rides along with it
        proxy_ssl_trusted_certificate {folder}/ca.pem;
        proxy_ssl_verify on;
        proxy_ssl_name localhost;  # nginx compares names only, no addresses
        proxy_http_version 1.1;
        proxy_set_header Host 127.0.0.1;
        proxy_set_header Connection "";
        proxy_request_buffering off;  # no message lies on the disk on its way
        proxy_buffering off;
    }}
    location / {{ return 403; }}
}}
"""

_CADDY = """# Run caddy with this file, and set `door = false` in server.toml: Caddy is the door then.
{{
	auto_https off
	admin off
}}
https://:{port} {{
	tls {folder}/server.pem {folder}/server.key {{
		protocols tls1.2 tls1.3
	}}
	@fleet {{
		method POST
		expression `{{http.request.orig_uri}}.matches("^/v1/fleet/[a-z]+(-[a-z]+)*$")`  # as sent, not decoded
	}}
	handle @fleet {{
		request_body {{
			max_size {megabytes}MiB
		}}
		reverse_proxy https://127.0.0.1:{backend} {{
			header_up Host 127.0.0.1
			transport http {{
				tls_trusted_ca_certs {folder}/ca.pem  # tls_trust_pool of 2.8 and newer; Debian has 2.6
				tls_server_name 127.0.0.1
				keepalive 3s  # the SuperLink hangs up after 5 quiet seconds
			}}
		}}
	}}
	handle {{
		respond 403
	}}
}}
"""


def write_configurations(folder: Path, port: int, backend: int, max_message_bytes: int) -> None:
    """Writes `nginx.conf` and `Caddyfile` into the coordinator's folder.

    Args:
      folder: has the certificates.
      port: the open one.
      backend: the SuperLink's, on loopback.
      max_message_bytes: largest request.
    """
    values = {"port": port, "backend": backend, "folder": folder.resolve(), "megabytes": -(-max_message_bytes // 2**20)}
    (folder / "nginx.conf").write_text(_NGINX.format(**values))
    (folder / "Caddyfile").write_text(_CADDY.format(**values))
