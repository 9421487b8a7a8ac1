"""Why a node is not connected to its coordinator, in a sentence: from a TLS handshake, and from the SuperNode's log."""

import re
import socket
import ssl
from base64 import b64encode
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from fedlm.errors import ConfigError

_SECONDS = 10.0
_SHOWN = 100  # characters of a proxy's reason
_SAYS = re.compile(r"SuperNode ID|Connection successful|Connection attempt failed|\[code: 2004\]")
CONNECTED, _REFUSED = "connected", "has not admitted this node"


def host_and_port(address: str) -> tuple[str, int]:
    """Splits HOST:PORT.

    Raises:
      ConfigError: it has another form.

    >>> host_and_port("fl.example.org:9443"), host_and_port("[::1]:9443")
    (('fl.example.org', 9443), ('::1', 9443))
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:]+)\]|([^\s:/\[\]]+)):(\d{1,5})", address)
    if found is None or not 0 < int(found[3]) < 65536:
        raise ConfigError(
            f"{address!r} is not a coordinator's address: write HOST:PORT, for example fl.example.org:9443."
        )
    return found[1] or found[2], int(found[3])


def problem_with(address: str, authority: Path) -> str:
    """Returns why the coordinator cannot be reached, after a TLS handshake; empty if it can.

    Args:
      address: HOST:PORT.
      authority: the coordinator's ca.pem.
    """
    host, port = host_and_port(address)
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with (
            _connected(host, port) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message.rstrip(".")
        return (
            f"The certificate of {address} is not valid ({reason}): it must be signed by the authority in {authority}."
        )
    except ssl.SSLError:
        return f"The server at {address} does not speak TLS: name the coordinator's open port."
    except socket.gaierror:
        return f"The host {host} is unknown: check the coordinator's address."
    except HTTPException:
        return f"No coordinator responds at {address} (the proxy's answer is not HTTP)."
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:_SHOWN] or "timed out"
        return f"No coordinator responds at {address} ({reason})."


def _connected(host: str, port: int) -> socket.socket:
    """Returns a connection to the coordinator, through the proxy of the environment where there is one, as Flower's."""
    proxy = getproxies().get("https", "")
    if not proxy or proxy_bypass(host):
        return socket.create_connection((host, port), timeout=_SECONDS)
    parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    word = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    headers = {"Proxy-Authorization": f"Basic {b64encode(word).decode()}"} if parts.username else {}
    tunnel = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_SECONDS)
    tunnel.set_tunnel(host, port, headers)
    tunnel.connect()
    found: socket.socket = tunnel.sock
    return found


def state_of(log: str, address: str) -> str:
    """Returns the state of a connection according to a SuperNode's log: CONNECTED, a sentence, or "" if unknown.

    Args:
      log: what the SuperNode has written since its last start.
      address: of the coordinator.
    """
    found = _SAYS.findall(log)
    if not found:
        return ""
    if found[-1] == "[code: 2004]":
        return f"{address} {_REFUSED}, or another process uses its key: the coordinator runs deploy add."
    return f"{address} does not respond." if found[-1] == "Connection attempt failed" else CONNECTED


def is_refusal(state: str) -> bool:
    """Returns whether a state says that the coordinator refused the node's key."""
    return _REFUSED in state
