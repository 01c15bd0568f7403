"""A real MQTT broker: Debian's mosquitto on a port of its own, with TLS, a password file and persistence."""

import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.endpoints import eventually, free_port

USER, PASSWORD = "model", "s3cret-of-the-broker"
REQUESTER, HIS_PASSWORD = "device", "s3cret-of-the-device"


class Mosquitto:
    """A broker that can be stopped, killed and started again with what it had written down."""

    def __init__(self, folder: Path, *, tls: bool, acl: str, no_rights: bool) -> None:
        self.folder, self.tls, self.port = folder, tls, free_port()
        self.host = "127.0.0.1"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = write_certificates(folder)
        passwords = folder / "passwords"
        passwords.touch()
        for name, password in ((USER, PASSWORD), (REQUESTER, HIS_PASSWORD)):
            subprocess.run(
                [program("mosquitto_passwd"), "-b", passwords, name, password],
                check=True,
                capture_output=True,
            )
        lines = [
            f"listener {self.port} {self.host}",
            *([f"certfile {folder / 'server.pem'}", f"keyfile {folder / 'server.key'}"] if tls else []),
            "allow_anonymous false",
            *([] if no_rights else [f"password_file {passwords}"]),
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 0",
            f"log_dest file {folder / 'log'}",
            *(["user root"] if os.geteuid() == 0 else []),
        ]
        if acl:
            (folder / "acl").write_text(acl)
            lines.append(f"acl_file {folder / 'acl'}")
        if no_rights:
            lines += self._nobody_may_listen()
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def _nobody_may_listen(self) -> list[str]:
        """Write the file of its plugin for rights: one user, who may do nothing."""
        file = self.folder / "rights.json"
        command = [program("mosquitto_ctrl"), "dynsec", "init", file, USER, PASSWORD]
        subprocess.run(command, check=True, capture_output=True)
        rights = json.loads(file.read_text())
        rights["clients"][0]["roles"] = rights["roles"] = []
        file.write_text(json.dumps(rights))
        plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
        return [f"plugin {plugin}", f"plugin_opt_config_file {file}"]

    @property
    def url(self) -> str:
        """Its address."""
        return f"mqtt{'s' * self.tls}://{self.host}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [program("mosquitto"), "-c", str(self.folder / "mosquitto.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._listens, 20)

    def stop(self) -> None:
        """End it in good order: it writes down what it has."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """End it in good order, and start it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it at once: what came since it last wrote is gone."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def _listens(self) -> bool:
        assert self._process
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            socket.create_connection((self.host, self.port), 1).close()
        except OSError:
            return False
        return True


@contextmanager
def mosquitto(
    folder: Path, *, tls: bool = True, acl: str = "", no_rights: bool = False
) -> Iterator[Mosquitto]:
    """Run a broker in `folder` for the block; skip the test where none is installed.

    Parameters
    ----------
    acl
        An access list: who may read and write which topics.
    no_rights
        Whether nobody may listen on anything.
    """
    broker = Mosquitto(folder, tls=tls, acl=acl, no_rights=no_rights)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


def program(name: str) -> str:
    """Return the path of a program of mosquitto; skip the test where it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    if not found:
        pytest.skip(f"no {name} on this machine (apt-get install mosquitto)")
    return found


def write_certificates(folder: Path) -> str:
    """Write a certificate of 127.0.0.1 with its key, and return the PEM of the authority that signed it."""
    now = datetime.now(UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in ("tests", "broker")
    )

    def begin(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))

    ca = begin(ca_name, ca_key.public_key())
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    usage = x509.KeyUsage(*([False] * 5), True, True, False, False)
    ca_certificate = ca.add_extension(usage, critical=True).sign(ca_key, hashes.SHA256())
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        begin(name, key.public_key()).add_extension(here, critical=False).sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "server.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(private)
    return ca_certificate.public_bytes(pem).decode()
