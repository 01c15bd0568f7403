"""From the bytes of a request to the document of its answer."""

import json
from dataclasses import dataclass
from typing import Any

from a360runtime.serving.bundle import Bundle
from a360runtime.serving.predictor import BadInput, Predictor, ScriptFailed

CORRELATION = "correlation_id"
"""Member of a JSON body that tells requests apart where the protocol has nothing for it (MQTT 3.1.1)."""

_TITLES = {400: "Bad request", 413: "Too large", 500: "Prediction failed"}


@dataclass(frozen=True)
class Request:
    """A body as the script is to get it, and the ``correlation_id`` that was in it (None: there was none)."""

    body: bytes
    correlation: str | int | None = None


@dataclass(frozen=True)
class Answer:
    """An answer: its document in UTF-8, its status as HTTP counts them."""

    document: bytes
    status: int


class Answerer:
    """Answers requests with a package; whatever comes, there is an answer.

    Parameters
    ----------
    bundle
        The loaded package.
    max_body
        Bytes a request may have.
    """

    def __init__(self, bundle: Bundle, max_body: int) -> None:
        self._predictor, self._max_body = Predictor(bundle), max_body
        features = bundle.manifest.get("feature_names") or ()
        self._reads_correlation = bundle.json_input and CORRELATION not in features

    def read(self, payload: bytes) -> Request:
        """Take the ``correlation_id`` out of a body that is a JSON object with one, a text or a number."""
        wanted = self._reads_correlation and len(payload) <= self._max_body
        if not wanted or CORRELATION.encode() not in payload:
            return Request(payload)
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            return Request(payload)
        found = document.pop(CORRELATION, None) if isinstance(document, dict) else None
        if not isinstance(found, (str, int)) or isinstance(found, bool):
            return Request(payload)
        return Request(json.dumps(document).encode(), found)

    def answer(self, request: Request) -> Answer:
        """Answer one request: with a prediction, or with what is wrong."""
        if len(request.body) > self._max_body:
            return _problem(request, 413, f"The body is larger than {self._max_body} bytes.")
        try:
            document = self._predictor.answer(request.body)
        except BadInput as error:
            return _problem(request, 400, error.detail, **_errors(error))
        except ScriptFailed as error:
            detail = "The prediction script failed; its log tells more under this id."
            return _problem(request, 500, detail, id=error.incident)
        if request.correlation is not None:
            document = f'{{"{CORRELATION}": {json.dumps(request.correlation)}, '.encode() + document[1:]
        return Answer(document, 200)


def _errors(error: BadInput) -> dict[str, Any]:
    """Return what is wrong field by field, where that is known."""
    found = [
        {"field": each.field, "message": each.message} | ({"row": each.row} if each.row else {})
        for each in error.errors
    ]
    return {"errors": found} if found else {}


def _problem(request: Request, status: int, detail: str, **more: Any) -> Answer:
    """Return a problem document (RFC 9457) as REST endpoints answer it."""
    own = {} if request.correlation is None else {CORRELATION: request.correlation}
    document = own | {"type": "about:blank", "title": _TITLES[status], "status": status, "detail": detail}
    return Answer(json.dumps(document | more).encode(), status)
