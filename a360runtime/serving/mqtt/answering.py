"""From the bytes of a request to the document of its answer."""

import json
import logging
import uuid
from dataclasses import dataclass
from typing import Any

from a360runtime.serving.answers import encode_prediction, read_json
from a360runtime.serving.bundle import Bundle
from a360runtime.serving.outliers import Outliers

logger = logging.getLogger("a360.serving")

CORRELATION = "correlation_id"
"""Member of a JSON body that tells requests apart where the protocol has nothing for it (MQTT 3.1.1)."""

_TITLES = {400: "Bad request", 413: "Too large", 500: "Prediction failed"}


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
        self._bundle, self._max_body = bundle, max_body
        self._outliers = Outliers(bundle.artifacts[2] if len(bundle.artifacts) > 2 else None)
        self._features = set(bundle.manifest.get("feature_names") or ())

    def correlation(self, payload: bytes) -> Any:
        """Return the ``correlation_id`` of a body, None where there is none; it is a text or a number."""
        if (
            not self._bundle.json_input
            or len(payload) > self._max_body
            or CORRELATION.encode() not in payload
        ):
            return None
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            return None
        return self._correlation_of(document)

    def answer(self, payload: bytes) -> Answer:
        """Answer one request: with a prediction, or with what is wrong."""
        correlation = None
        try:
            if len(payload) > self._max_body:
                return _problem(413, f"The body is larger than {self._max_body} bytes.", None)
            text = payload.decode("utf-8")
            if self._bundle.json_input:
                document = read_json(text)
                correlation = self._correlation_of(document)
                if correlation is not None:
                    document = {name: value for name, value in document.items() if name != CORRELATION}
                    text = json.dumps(document, ensure_ascii=False)
                self._count_outliers(document)
        except UnicodeDecodeError:
            return _problem(400, "The body is not UTF-8 text.", None)
        except ValueError as error:
            return _problem(400, str(error), correlation)
        return self._predict(text, correlation)

    def _correlation_of(self, document: Any) -> Any:
        if not isinstance(document, dict) or CORRELATION in self._features:
            return None
        found = document.get(CORRELATION)
        return found if isinstance(found, (str, int)) and not isinstance(found, bool) else None

    def _count_outliers(self, document: Any) -> None:
        try:
            self._outliers.look(document)
        except Exception:
            logger.exception("Outliers of a request could not be counted.")

    def _predict(self, text: str, correlation: Any) -> Answer:
        try:
            document = encode_prediction(self._bundle.predict(text))
        # A script that calls sys.exit() must not take the wrapper with it.
        except (Exception, SystemExit):
            incident = uuid.uuid4().hex
            logger.exception("incident=%s The prediction script failed.", incident)
            detail = "The prediction script failed; its log tells more under this id."
            return _problem(500, detail, correlation, id=incident)
        if correlation is not None:
            document = f'{{"{CORRELATION}": {json.dumps(correlation, ensure_ascii=False)}, {document[1:]}'
        return Answer(document.encode("utf-8", "replace"), 200)


def _problem(status: int, detail: str, correlation: Any, **more: str) -> Answer:
    """Return a problem document (RFC 9457) as REST endpoints answer it."""
    own = {} if correlation is None else {CORRELATION: correlation}
    document = own | {"type": "about:blank", "title": _TITLES[status], "status": status, "detail": detail}
    return Answer(json.dumps(document | more).encode(), status)
