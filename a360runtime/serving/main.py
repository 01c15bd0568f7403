"""What ``run.py`` of a package starts: the server, or one validation run."""

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

from a360runtime.serving import server
from a360runtime.serving.answers import encode_prediction, read_json


def main(folder: Path, arguments: list[str]) -> int:
    """Serve the package in `folder`, or run its script once. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Serve the model in this package.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on")
    parser.add_argument(
        "--validate", metavar="FILE", help="run the script once on this body and print the answer"
    )
    parser.add_argument("--check", action="store_true", help="load the package, then leave")
    parser.add_argument("--healthcheck", action="store_true", help="say whether the MQTT wrapper is well")
    options = parser.parse_args(arguments)
    if options.check or options.validate:
        return validate(folder, options.validate)
    manifest = json.loads((folder / "a360.json").read_text("utf-8"))
    if options.healthcheck:
        from a360runtime.serving.mqtt.check import healthcheck

        return healthcheck(manifest)
    if manifest.get("wrapper") == "mqtt":
        from a360runtime.serving.mqtt.main import serve as serve_mqtt

        return serve_mqtt(folder, manifest)
    server.serve(folder, options.host, options.port)
    return 0


def validate(folder: Path, body_file: str | None) -> int:
    """Load the package and answer one body as the server would; the answer is all that goes to stdout.

    Returns 0, or 1 with the reason as the last line of stderr.
    """
    # Whatever the script prints goes to stderr, so that stdout is the answer and nothing else.
    from a360runtime.serving.bundle import load_bundle

    answer_to = os.dup(1)
    os.dup2(2, 1)
    try:
        payload = Path(body_file).read_text("utf-8") if body_file else ""
        bundle = load_bundle(folder)
        if body_file and bundle.json_input:
            read_json(payload)
        answer = encode_prediction(bundle.predict(payload)) if body_file else ""
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    with os.fdopen(answer_to, "w", encoding="utf-8") as out:
        out.write(answer)
    return 0
