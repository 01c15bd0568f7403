"""Those who ask a model over MQTT, and the wrapper that answers them, as a process of its own."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from a360runtime.serving.mqtt.health import read_health
from tests.support.delivery import linear_model
from tests.support.endpoints import eventually
from tests.support.mosquitto import HIS_PASSWORD, PASSWORD, REQUESTER, USER, Mosquitto

ASK, ANSWER = "plant/ask", "plant/answer"
SCRIPT = """
import json


def predict(artifact_list, payload):
    row = json.loads(payload)
    if isinstance(row, dict):
        if "sleep" in row:
            import time
            if "mark" in row:
                open(row["mark"], "w").close()
            time.sleep(row["sleep"])
        if "fail" in row:
            raise RuntimeError("secret of the script")
        row = row.get("row", [1.0, 2.0])
    return float(artifact_list[0].predict([row])[0][0])
"""
START = """
import sys
from pathlib import Path

sys.path[:] = {path!r}
from a360runtime.serving.main import main

sys.exit(main(Path(__file__).parent, sys.argv[1:]))
"""


def write_package(folder: Path) -> dict[str, Any]:
    """Write a package with the MQTT wrapper that runs on this Python's modules, and return its manifest."""
    (folder / "artifacts").mkdir(parents=True)
    (folder / "script").mkdir()
    (folder / "artifacts" / "trained_model").write_bytes(linear_model())
    (folder / "script" / "predict.py").write_text(SCRIPT)
    (folder / "run.py").write_text(START.format(path=[str(Path.cwd()), *filter(None, sys.path)]))
    manifest = {
        "format": 1,
        "slug": f"linear-{uuid.uuid4().hex[:6]}",
        "wrapper": "mqtt",
        "script": "script/predict.py",
        "call_function": "predict",
        "listen_topic": ASK,
        "respond_topic": ANSWER,
    }
    (folder / "a360.json").write_text(json.dumps(manifest))
    return manifest


class Wrapper:
    """A package with the wrapper around it, run as its process is run."""

    def __init__(self, folder: Path, broker: Mosquitto, **environment: str) -> None:
        self.folder, self.state = folder, folder / "state"
        self.manifest = write_package(folder / "package")
        (folder / "password").write_text(PASSWORD + "\n")
        self.environment = {
            "PATH": os.defpath,
            "A360_MQTT_URL": broker.url,
            "A360_MQTT_USERNAME": USER,
            "A360_MQTT_PASSWORD_FILE": str(folder / "password"),
            "A360_MQTT_CA": broker.ca,
            "A360_STATE_FOLDER": str(self.state),
            "A360_DRAIN_SECONDS": "10",
            "A360_THREADS": "1",
        } | environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it listens."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), env=self.environment, stdout=log, stderr=log)
        if wait:
            eventually(self.listens)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self.folder / "package" / "run.py"), *arguments]

    def change(self, **manifest: Any) -> None:
        """Change what the package says, before it is started."""
        self.manifest |= manifest
        (self.folder / "package" / "a360.json").write_text(json.dumps(self.manifest))

    def listens(self) -> bool:
        """Does it say that it listens?"""
        assert self._process
        assert self._process.poll() is None, self.log
        return read_health(self.state)[0]

    def stop(self) -> int:
        """Ask it to stop; returns its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)
        (self.state / "health.json").unlink(missing_ok=True)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(30)

    def ended(self) -> int:
        """Wait until it has ended by itself; returns its exit code."""
        assert self._process
        code = self._process.wait(30)
        self._process = None
        return code

    def healthcheck(self) -> tuple[int, dict[str, Any]]:
        """Run its health check as a container does."""
        done = subprocess.run(
            self._command("--healthcheck"), env=self.environment, capture_output=True, timeout=30
        )
        return done.returncode, json.loads(done.stdout)

    @property
    def counts(self) -> dict[str, int]:
        """What it has counted since it was started, as far as it has said."""
        return dict(read_health(self.state)[1]["counts"])

    @property
    def log(self) -> str:
        """All it has written."""
        return (self.folder / "log").read_text()


class Requester:
    """A device that asks and counts answers; its session outlives restarts of the broker."""

    def __init__(self, broker: Mosquitto, *, version: str = "5", qos: int = 2, topic: str = ANSWER) -> None:
        self.answers: Counter[Any] = Counter()
        self.documents: dict[Any, dict[str, Any]] = {}
        self._packets: dict[Any, int] = {}
        self._five = version == "5"
        self._topic, self._qos = topic, qos
        self.asks = ASK
        self._ready = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"device-{uuid.uuid4().hex[:8]}",
            clean_session=None if self._five else False,
            protocol=paho.MQTTv5 if self._five else paho.MQTTv311,
        )
        if broker.tls:
            self._client.tls_set_context(ssl.create_default_context(cadata=broker.ca))
        self._client.username_pw_set(REQUESTER, HIS_PASSWORD)
        self._client.reconnect_delay_set(0.1, 0.5)  # type: ignore[arg-type]
        self._client.max_inflight_messages_set(200)
        self._client.on_connect, self._client.on_message = self._on_connect, self._on_message
        self._client.on_subscribe = lambda *_: self._ready.set()
        properties = None
        if self._five:
            properties = _properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            self._client.connect(broker.host, broker.port, 30, clean_start=False, properties=properties)
        else:
            self._client.connect(broker.host, broker.port, 30)
        self._client.loop_start()
        assert self._ready.wait(10)

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(self._topic, self._qos)

    def _on_message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        document = json.loads(message.payload)
        correlation = getattr(message.properties, "CorrelationData", None)
        name = correlation.decode() if correlation is not None else document.get("correlation_id")
        if message.dup and self._packets.get(name) == message.mid:
            # Handed over again by a broker that was restarted, and marked as such: no second answer.
            return
        self._packets[name] = message.mid
        self.answers[name] += 1
        self.documents[name] = document

    def ask(
        self,
        name: str,
        body: object = None,
        *,
        qos: int = 1,
        respond: str = "",
        retain: bool = False,
    ) -> None:
        """Ask with a correlation: of the protocol if it knows it, else in the body."""
        body = {"row": [1.0, 2.0]} if body is None else body
        properties = None
        if self._five:
            properties = _properties(PacketTypes.PUBLISH)
            properties.CorrelationData = name.encode()
            if respond:
                properties.ResponseTopic = respond
        elif isinstance(body, dict):
            body = body | {"correlation_id": name}
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._client.publish(self.asks, payload, qos, retain, properties)

    def answer(self, name: Any) -> dict[str, Any]:
        """Wait for the answer to a request and return it."""
        eventually(lambda: name in self.documents)
        return self.documents[name]

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()


def _properties(packet: int) -> Any:
    return Properties(packet)  # type: ignore[no-untyped-call]
