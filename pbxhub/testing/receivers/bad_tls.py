"""A certificate authority of our own and servers' certificates with every fault, for tests on loopback."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from tempfile import NamedTemporaryFile

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues certificates. pem: what a client must trust to accept them."""

    _ca: trustme.CA

    @property
    def pem(self) -> str:
        """The authority's own certificate."""
        return self._ca.cert_pem.bytes().decode()

    def server(self, host: str = "127.0.0.1", *, expired: bool = False) -> ssl.SSLContext:
        """A server with a certificate for that host."""
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(host, not_after=until).configure_cert(context)
        return context

    def old_server(self, version: ssl.TLSVersion) -> ssl.SSLContext:
        """A server that speaks nothing newer than that version."""
        context = self.server()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        return context

    def strict_server(self) -> ssl.SSLContext:
        """A server that wants a certificate of this authority from the client, too."""
        context = self.server()
        context.verify_mode = ssl.CERT_REQUIRED
        self._ca.configure_trust(context)
        return context

    def client(self, name: str = "hub@example.com") -> tuple[str, str]:
        """Certificate and key of a client, as PEM."""
        issued = self._ca.issue_cert(name)
        return issued.cert_chain_pems[0].bytes().decode(), issued.private_key_pem.bytes().decode()


def new_authority() -> Authority:
    """An authority that nobody trusts yet."""
    return Authority(trustme.CA())


def self_signed_server() -> ssl.SSLContext:
    """A server that has signed its certificate itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with NamedTemporaryFile() as file:
        plain = serialization.NoEncryption()
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.flush()
        context.load_cert_chain(file.name)
    return context
