"""Which node signed a request: checked at the gateway, before a byte of the body is read.

Flower's nodes sign a timestamp with the key that the coordinator admitted (three headers). The
SuperLink checks the same signature, but only once it has the whole body in memory.
"""

import binascii
import datetime
import json
import time
from base64 import b64decode
from pathlib import Path

import h11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.error import ApiErrorCode
from flwr.supercore.primitives.asymmetric import verify_signature

from clients.deploy.keys import load_public_key
from fedlm.errors import DataError
from server.deploy.fleet_request import Refusal

_HEADERS = tuple(
    name.encode() for name in (FLEET_HTTP_PUBLIC_KEY_HEADER, TIMESTAMP_HEADER, FLEET_HTTP_SIGNATURE_HEADER)
)
_LOOK_SECONDS = 1.0
_ACTIVATE = b"/v1/fleet/activate-node"
# What the SuperLink answers: a SuperNode reads it and says that it was not admitted.
_NOT_ADMITTED = json.dumps(
    {"code": int(ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED), "detail": "Failed to activate SuperNode."}
)
_NOT_SIGNED = json.dumps({"detail": "Invalid SuperNode authentication"})


class Admission:
    """The nodes whose public keys are in the coordinator's folder.

    Args:
      folder: of the keys, `*.pub`. A key that is added or removed counts within a second.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._look_at = folder, 0.0
        self._files: dict[Path, tuple[int, int, int]] = {}
        self._keys: dict[bytes, tuple[str, ec.EllipticCurvePublicKey]] = {}

    def node(self, request: h11.Request) -> str:
        """Returns the name of the admitted node that signed a request.

        Raises:
          Refusal: 401, or 412 with Flower's code for a node that was not admitted and asks to be activated.
        """
        self._look()
        given = {name: [v for n, v in request.headers if n == name] for name in _HEADERS}
        if any(len(values) != 1 for values in given.values()):
            raise Refusal("401 Unauthorized", _NOT_SIGNED)
        encoded, timestamp, signature = (values[0] for values in given.values())
        try:
            known = self._keys.get(b64decode(encoded, validate=True))
            signed = b64decode(signature, validate=True)
        except binascii.Error:
            raise Refusal("401 Unauthorized", _NOT_SIGNED) from None
        if known is None:
            if request.target == _ACTIVATE:
                raise Refusal("412 Precondition Failed", _NOT_ADMITTED)
            raise Refusal("401 Unauthorized", _NOT_SIGNED)
        name, key = known
        if not (_is_recent(timestamp) and verify_signature(key, timestamp, signed)):
            raise Refusal("401 Unauthorized", _NOT_SIGNED)
        return name

    def _look(self) -> None:
        """Reads the folder again if its files have changed."""
        if time.monotonic() < self._look_at:
            return
        self._look_at, found = time.monotonic() + _LOOK_SECONDS, {}
        for file in self._folder.glob("*.pub"):
            try:
                status = file.stat()
            except OSError:
                continue
            found[file] = (status.st_mtime_ns, status.st_size, status.st_ino)
        if found != self._files:
            self._files, self._keys = found, {}
            for file in found:
                self._read(file)

    def _read(self, file: Path) -> None:
        try:
            pem = load_public_key(file)
        except DataError:
            return  # damaged, or not yet written to its end: then it changes once more
        key = load_pem_public_key(pem)
        if isinstance(key, ec.EllipticCurvePublicKey):
            self._keys[pem] = (file.stem, key)


def _is_recent(timestamp: bytes) -> bool:
    """Returns whether a timestamp lies in the window in which Flower takes a signature."""
    try:
        signed_at = datetime.datetime.fromisoformat(timestamp.decode("ascii"))
        age = (now() - signed_at).total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: it has no time zone
        return False
    return -SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE
