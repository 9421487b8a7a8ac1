"""The certificate authority of a deployment, and its server certificate."""

import datetime
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clients.deploy.keys import load_certificate
from fedlm.errors import ConfigError, DataError
from fedlm.system.files import write_atomic

CA_DAYS, SERVER_DAYS = 3650, 397


def create_authority(folder: Path) -> None:
    """Makes `ca.key` (mode 0600, needed only to renew) and `ca.pem`, which every node receives."""
    key = ec.generate_private_key(ec.SECP384R1())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        _builder("fedlm deployment", CA_DAYS)
        .issuer_name(_name("fedlm deployment"))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    write_atomic(folder / "ca.key", _pem(key), private=True)
    write_atomic(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))


def create_server_certificate(folder: Path, hosts: Sequence[str]) -> None:
    """Makes or renews `server.key` and `server.pem` for the named hosts and this machine's loopback.

    Raises:
      DataError: the authority's key or certificate is missing, damaged, or a key of another kind.
    """
    try:
        authority = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        issuer = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    except (FileNotFoundError, ValueError):
        raise DataError(
            f"{folder} has no ca.key and ca.pem, or they are damaged: restore them to renew the certificate."
        ) from None
    if not isinstance(authority, ec.EllipticCurvePrivateKey):
        raise DataError(f"{folder / 'ca.key'} is not the key that fedlm deploy server made: restore it.")
    key = ec.generate_private_key(ec.SECP384R1())
    names = x509.SubjectAlternativeName([_general_name(h) for h in dict.fromkeys([*hosts, "localhost", "127.0.0.1"])])
    certificate = (
        _builder("fedlm coordinator", SERVER_DAYS)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA384())
    )
    write_atomic(folder / "server.key", _pem(key), private=True)
    write_atomic(folder / "server.pem", certificate.public_bytes(serialization.Encoding.PEM))


def server_names(certificate: Path) -> list[str]:
    """Returns the host names and addresses in a server certificate; none if there is no such file."""
    if not certificate.is_file():
        return []
    held = load_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in held]


def _builder(name: str, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host):
            raise ConfigError(
                f"{host!r} is not a host name: leave out ports and spaces, and write other alphabets as xn--..."
            ) from None
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
