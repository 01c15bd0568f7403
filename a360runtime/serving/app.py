"""The HTTP face of a served model."""

import logging
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, json, request
from werkzeug.exceptions import HTTPException

from a360runtime.serving.answers import encode_prediction, read_json
from a360runtime.serving.bundle import Bundle
from a360runtime.serving.keys import KeyRing
from a360runtime.serving.outliers import Outliers

logger = logging.getLogger("a360.serving")

DEFAULT_MAX_BODY = 10_000_000
"""Bytes a request body may have."""


OUTLIERS = "a360.outliers"
"""Where the application keeps its :class:`Outliers`."""


def create_app(bundle: Bundle, keys: KeyRing, max_body: int = DEFAULT_MAX_BODY) -> Flask:
    """Return the WSGI application that answers calls to `bundle`, opened by `keys`."""
    app = Flask("a360runtime.serving", static_folder=None)
    outliers = Outliers(bundle.artifacts[2] if len(bundle.artifacts) > 2 else None)
    app.extensions[OUTLIERS] = outliers
    app.url_map.strict_slashes = False
    app.before_request(_start_clock)
    app.after_request(_log_access)
    app.register_error_handler(HTTPException, _http_problem)

    def predict(name: str = "") -> Response:
        if not keys.accepts(request.headers.get("apikey")):
            return problem(401, "The apikey header holds no valid key.")
        try:
            body = _read_body(max_body)
            if body is None:
                return problem(413, f"The body is larger than {max_body} bytes.")
            payload = body.decode("utf-8")
            if bundle.json_input:
                _count_outliers(outliers, read_json(payload))
        except UnicodeDecodeError:
            return problem(400, "The body is not UTF-8 text.")
        except ValueError as error:
            return problem(400, str(error))
        return _answer(bundle, payload)

    app.add_url_rule("/", "predict", predict, methods=["POST"])
    # The gateway knows the name of the endpoint; one process serves one model, whatever it is called.
    app.add_url_rule("/<name>/", "predict_by_name", predict, methods=["POST"])
    app.add_url_rule("/healthz", "healthz", _alive, methods=["GET"])
    # The package is loaded before the first request is taken, so a process that answers is ready.
    app.add_url_rule("/readyz", "readyz", _alive, methods=["GET"])
    return app


def _count_outliers(outliers: Outliers, document: Any) -> None:
    """Count before the script runs, for its failure is no reason to miss them; and never fail a call."""
    try:
        outliers.look(document)
    except Exception:
        logger.exception("Outliers of a call could not be counted.")


def _read_body(limit: int) -> bytes | None:
    """Return the body, None when it is larger than `limit`, whether or not its length was announced."""
    if (request.content_length or 0) > limit:
        return None
    body = request.environ["wsgi.input"].read(limit + 1)
    return body if len(body) <= limit else None


def _answer(bundle: Bundle, payload: str) -> Response:
    try:
        body = encode_prediction(bundle.predict(payload))
    # A script that calls sys.exit() must not take the server with it.
    except (Exception, SystemExit):
        incident = uuid.uuid4().hex
        logger.exception("incident=%s The prediction script failed.", incident)
        return problem(500, "The prediction script failed; its log tells more under this id.", id=incident)
    return Response(body, mimetype="application/json")


def _alive() -> Response:
    return Response('{"status": "ok"}', mimetype="application/json")


def problem(status: int, detail: str, **more: str) -> Response:
    """Return an RFC 9457 problem document."""
    titles = {400: "Bad request", 401: "Not authorised", 413: "Too large", 500: "Prediction failed"}
    document: dict[str, Any] = {"type": "about:blank", "title": titles.get(status, "Error"), "status": status}
    body = json.dumps(document | {"detail": detail} | more)
    return Response(body, status=status, mimetype="application/problem+json")


def _http_problem(error: HTTPException) -> Response:
    response = problem(error.code or 500, error.description or "")
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _start_clock() -> None:
    g.started = time.perf_counter()


def _log_access(response: Response) -> Response:
    if request.method == "POST":
        seconds = time.perf_counter() - g.started
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        logger.info("access time=%s status=%d seconds=%.6f", at, response.status_code, seconds)
    return response
