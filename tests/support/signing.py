"""Requests to a gateway that are signed as Flower's SuperNode signs them, and a key that the coordinator admitted."""

from base64 import b64encode
from collections.abc import Generator
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from clients.deploy.keys import create_node_key


def admitted_key(server: Path, home: Path, name: str = "a") -> ec.EllipticCurvePrivateKey:
    """Makes a node's key, and admits it at the gateway of a coordinator's folder."""
    public = create_node_key(home)
    (server / "nodes").mkdir(exist_ok=True)
    (server / "nodes" / f"{name}.pub").write_bytes(public.read_bytes())
    return key_of(home)


def key_of(home: Path) -> ec.EllipticCurvePrivateKey:
    """Reads a node's key."""
    key = load_ssh_private_key((home / "node.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def signature(key: ec.EllipticCurvePrivateKey, timestamp: str = "") -> dict[str, str]:
    """Returns the headers of a signed request."""
    timestamp = timestamp or now().isoformat()
    return {
        "flwr-public-key": b64encode(public_key_to_bytes(key.public_key())).decode(),
        "flwr-timestamp": timestamp,
        "flwr-signature": b64encode(sign_message(key, timestamp.encode())).decode(),
    }


def signature_lines(key: ec.EllipticCurvePrivateKey) -> list[bytes]:
    """Returns them as lines of a head."""
    return [f"{name}: {value}".encode() for name, value in signature(key).items()]


class Signed(httpx.Auth):
    """Signs each request of a client."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self.key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.update(signature(self.key))
        yield request
