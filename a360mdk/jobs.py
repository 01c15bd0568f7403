"""Following the platform's long work, packaging and publishing, while it happens."""

import json
import time
from collections.abc import Iterator
from typing import Any

import requests

from a360mdk.client import CONNECT_SECONDS, READ_SECONDS, Client, refusal, unreachable_text
from a360mdk.client import Unreachable as Lost
from a360mdk.exceptions import ModelError

_ATTEMPTS = 5


def follow(client: Client, job_id: str) -> Iterator[dict[str, Any]]:
    """Yield a job's events from its first one, as they happen, until it has ended.

    A lost connection is taken up again behind the last event that arrived, so that none comes twice.

    Args:
        client: connection to the service.
        job_id: the job.

    Raises:
        ModelError: the service refuses, or stays silent.
    """
    last, lost = 0, 0
    while True:
        try:
            for event in _stream(client, job_id, last):
                if event is None:
                    return
                last, lost = int(event["seq"]), 0
                yield event
            reason = "the stream of events ended early"
        except (requests.RequestException, ValueError) as failure:  # ValueError: half an event
            reason = f"the connection was lost ({type(failure).__name__})"
        lost += 1
        if lost == _ATTEMPTS:
            what, why, _ = unreachable_text(client.base_url, Lost(reason, maybe_done=False))
            raise ModelError(what, why, "The job itself goes on: %a360 status shows what became of it.")
        time.sleep(0.2 * 2**lost)


def wait(client: Client, job_id: str) -> dict[str, Any]:
    """Print a job's events as they happen; return the job once it has ended.

    Args:
        client: connection to the service.
        job_id: the job.
    """
    from tqdm.auto import tqdm

    with tqdm(bar_format="{desc} {elapsed}", leave=False) as bar:
        for event in follow(client, job_id):
            bar.set_description_str(str(event["step"] or event["kind"]))
            bar.write(str(event["message"]))
    job: dict[str, Any] = client.get(f"/jobs/{job_id}", ModelError)
    return job


def _stream(client: Client, job_id: str, after: int) -> Iterator[dict[str, Any] | None]:
    """Yield events of one connection; None when the job has told all."""
    path, headers = f"/jobs/{job_id}/events?after={after}", {"Accept": "text/event-stream"}
    with client.open(path, headers, (CONNECT_SECONDS, READ_SECONDS)) as response:
        if not response.ok:
            raise refusal(response, ModelError)
        kind = ""
        for line in response.iter_lines():  # as bytes: text would be split at more than line feeds
            name, _, value = line.decode().partition(": ")
            if name == "event":
                kind = value
            elif name == "data" and kind == "end":
                yield None
            elif name == "data":
                yield json.loads(value)
