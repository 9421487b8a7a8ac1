"""Keys and certificates in the formats of Flower's SuperNodes."""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedlm.errors import DataError
from fedlm.system.files import write_atomic
from fedlm.system.storage import MISSING, reading


def load_certificate(path: Path) -> x509.Certificate:
    """Reads a certificate.

    Raises:
      DataError: it is missing or damaged.
    """
    try:
        with reading(path):
            content = path.read_bytes()
        return x509.load_pem_x509_certificate(content)
    except (*MISSING, ValueError):
        raise DataError(
            f"{path} is not a certificate, or it is damaged: get a new copy (ca.pem comes from the coordinator)."
        ) from None


def create_node_key(folder: Path) -> Path:
    """Makes `node.key` (OpenSSH, ECDSA P-384, 0600) and `node.key.pub`; returns the public one."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    write_atomic(folder / "node.key", private, private=True)
    public = folder / "node.key.pub"
    encoded = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_atomic(public, encoded + b"\n")
    return public


def load_public_key(path: Path) -> bytes:
    """Returns a node's public key as Flower's API takes it (PEM).

    Raises:
      DataError: it is missing, or not an ECDSA P-384 key in OpenSSH's format.
    """
    try:
        with reading(path):
            content = path.read_bytes()
        key = serialization.load_ssh_public_key(content)
    except (*MISSING, ValueError, UnsupportedAlgorithm):  # UnsupportedAlgorithm: a private key
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise DataError(f"{path} is not a node's public key: name the node.key.pub that `deploy node` wrote.")
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
