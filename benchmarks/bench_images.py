"""An image put together by the builder oci against `docker build` of the same content, in one run.

The model is a RandomForest(100, depth 6) on 26 columns. Both sides begin with their base image at hand; a
cold build has nothing of the dependencies but the package index, a warm one follows with a changed model.
The builder oci ends when the image is in a registry on loopback. `docker build` ends when it is in the
engine; the push to the same registry is told apart. The first answer is counted from the start of a
container whose image is there.

    python -m benchmarks.bench_images [--rounds 3]
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import requests
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

from a360_hub_service.backends.images import BuildRequest, BuiltPackage
from a360_hub_service.backends.images.base_image import ensure_base_image, ensure_base_layout
from a360_hub_service.backends.images.docker import DockerBuilder
from a360_hub_service.backends.images.oci import OciBuilder
from tests.support import endpoints
from tests.support.registry import PASSWORD, USER, RegistryServer, registry_server

COLUMNS = 26

SCRIPT = """\
import json

import numpy as np


def predict(artifact_list, payload):
    row = np.array(list(json.loads(payload).values()), dtype=float).reshape(1, -1)
    return float(artifact_list[0].predict(row)[0])
"""


def write_model(path: Path, seed: int) -> Path:
    """Write a forest as ONNX."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(4000, COLUMNS))
    target = (features[:, 0] + features[:, 1] > 0).astype(int)
    forest = RandomForestClassifier(100, max_depth=6, random_state=seed).fit(features, target)
    graph = to_onnx(forest, np.zeros((1, COLUMNS), dtype=np.float32), options={"zipmap": False})
    path.write_bytes(graph.SerializeToString())
    return path


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds some work took, and what came of it."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def docker(*arguments: str) -> str:
    """Run the command docker."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def first_answer(image: str, body: str) -> float:
    """Return the seconds from the start of a container to its first answer."""
    port = endpoints.free_port()
    name = f"a360-bench-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as keys:
        Path(keys).chmod(0o755)
        record = dataclasses.asdict(endpoints.key_record()) | {"expires_at": None}
        Path(keys, "keys.json").write_text(json.dumps([record]))
        settings = ["--read-only", "--tmpfs=/tmp", "-e", "HOME=/tmp", "-e", "A360_KEYS_FILE=/keys/keys.json"]
        docker(
            "create",
            "--name",
            name,
            *settings,
            "-v",
            f"{keys}:/keys:ro",
            "-p",
            f"127.0.0.1:{port}:8080",
            image,
        )
        try:
            seconds, _ = timed(lambda: (docker("start", name), _ask(f"http://127.0.0.1:{port}/", body)))
        finally:
            docker("rm", "-f", name)
    return seconds


def _ask(url: str, body: str) -> None:
    headers = {"Content-Type": "application/json", "apikey": endpoints.KEY}
    while True:
        try:
            answer = requests.post(url, data=body, headers=headers, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.01)
            continue
        answer.raise_for_status()
        return


def measure_round(folder: Path, server: RegistryServer, number: int) -> dict[str, float]:
    """Return what one round took on both sides, in seconds, and what both images weigh, in bytes."""
    homes = {kind: folder / f"{kind}-{number}" for kind in ("oci", "docker")}
    name = f"a360-bench-{uuid.uuid4().hex[:8]}"
    registry = server.configured(prefix=f"round{number}")
    oci = OciBuilder(home=str(homes["oci"]), registry=registry)
    engine = DockerBuilder(home=str(homes["docker"]), repository=name)
    ensure_base_layout(homes["oci"], _quiet)
    ensure_base_image(homes["docker"], name, _quiet)
    repo = endpoints.write_files(folder / "repo", {"predict.py": SCRIPT, "requirements.txt": "numpy\n"})
    requested: list[BuildRequest] = [
        endpoints.package_request(write_model(folder / f"model-{seed}", seed), repo, slug="bench")
        for seed in (0, 1)
    ]
    body = json.dumps({f"f{n}": n / COLUMNS for n in range(COLUMNS)})
    found: dict[str, float] = {}
    images: dict[str, BuiltPackage] = {}
    try:
        # Sides take turns at being the first.
        for kind in sorted(homes, reverse=bool(number % 2)):
            builder = oci if kind == "oci" else engine
            found[f"{kind} cold"], _ = timed(lambda: builder.build(requested[0], _quiet))  # noqa: B023
            found[f"{kind} warm"], images[kind] = timed(lambda: builder.build(requested[1], _quiet))  # noqa: B023
        remote = f"{server.address}/{name}/bench:1"
        docker("tag", images["docker"].reference, remote)
        docker("login", "-u", USER, "-p", PASSWORD, server.address)
        found["docker push"], _ = timed(lambda: docker("push", "-q", remote))
        pulled = f"{images['oci'].reference.rpartition(':')[0]}@{images['oci'].digest}"
        docker("pull", "-q", pulled)
        found["oci first answer"] = first_answer(pulled, body)
        found["docker first answer"] = first_answer(images["docker"].reference, body)
        found["oci in the registry"] = images["oci"].size
        found["oci unpacked"] = float(docker("image", "inspect", "-f", "{{.Size}}", pulled))
        found["docker unpacked"] = images["docker"].size
        docker("rmi", pulled)
    finally:
        shown = docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        own = [line for line in shown if line.startswith((f"{name}/", f"{server.address}/{name}/"))]
        if own:
            docker("rmi", "-f", *own)
    return found


def _quiet(line: str) -> None:
    return None


def main() -> None:
    """Print times, sizes and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, registry_server(Path(folder, "registry")) as server:
        # The login of this run stays in it.
        os.environ["DOCKER_CONFIG"] = str(Path(folder, "docker"))
        rounds = [measure_round(Path(folder), server, number) for number in range(options.rounds)]
    for name in rounds[0]:
        scale, unit = (1e-6, "MB") if rounds[0][name] > 1e5 else (1.0, "s")
        values = [each[name] * scale for each in rounds]
        shown = f"{statistics.median(values):8.2f} {unit}"
        print(f"{name:34} {shown} (median of {options.rounds} rounds, best {min(values):.2f})")
    for one, others in (
        ("oci cold", ("docker cold",)),
        ("oci cold", ("docker cold", "docker push")),
        ("oci warm", ("docker warm",)),
        ("oci first answer", ("docker first answer",)),
        ("oci unpacked", ("docker unpacked",)),
    ):
        ratio = statistics.median(each[one] / sum(each[other] for other in others) for each in rounds)
        words = f"{one} / {' + '.join(others)}"
        print(f"{words:34} {ratio:8.2f} x")


if __name__ == "__main__":
    main()
