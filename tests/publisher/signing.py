"""Sets up Celery's `auth` serializer for an app. kombu keeps this configuration for the whole process."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from celery import Celery
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kombu.serialization import registry  # type: ignore[attr-defined]  # the stubs don't have it

SETTINGS = {"task_serializer": "auth", "accept_content": ["auth"], "event_serializer": "auth"}


@contextmanager
def signed(app: Celery, directory: Path, serializer: str = "json") -> Iterator[None]:
    """Signs the app's messages. A decoder in this process verifies the signatures."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    _write(key, certificate)
    app.conf.update(
        SETTINGS, security_key=str(key), security_certificate=str(certificate), security_cert_store=str(certificate)
    )
    before = {name: copy.copy(value) for name, value in vars(registry).items()}
    try:
        app.setup_security(serializer=serializer)
        yield
    finally:
        vars(registry).update(before)


def _write(key_file: Path, certificate_file: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bridge test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    certificate_file.write_bytes(certificate.public_bytes(pem))
