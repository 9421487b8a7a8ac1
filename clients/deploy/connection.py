"""Why a node is not connected to its coordinator, in a sentence: from a TLS handshake, and from the SuperNode's log."""

import re
import socket
import ssl
from pathlib import Path

from fedlm.errors import ConfigError

_SECONDS = 10.0
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
            socket.create_connection((host, port), timeout=_SECONDS) as plain,
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
    except OSError as error:
        return f"No coordinator responds at {address} ({error.strerror or 'timed out'})."


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
