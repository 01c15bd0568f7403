"""What an endpoint takes and answers, as an OpenAPI document made from its package's signature."""

from collections.abc import Mapping
from typing import Any

from a360runtime.serving.checks import ENFORCE, fields_of
from a360runtime.signatures import BIG, FLOAT, SMALL, TEXT, TIME

_TYPES: dict[str, dict[str, Any]] = {
    BIG: {"type": "integer", "format": "int64"},
    SMALL: {"type": "integer"},
    FLOAT: {"type": ["number", "null"]},
    TEXT: {"type": ["string", "number", "boolean", "null"]},
    TIME: {"type": ["string", "number", "null"]},
}
_PROBLEMS = {
    "400": "The body is not JSON, or does not fit the model's signature; `errors` names the fields.",
    "401": "The header `apikey` holds no valid key.",
    "413": "The body is too large.",
    "500": "The prediction script failed; `id` finds the reason in the endpoint's log.",
    "503": "All threads are busy; call again in a second.",
}


def document(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a package.

    Parameters
    ----------
    manifest
        The package's manifest; names the endpoint's address, signature and input format.
    """
    answers: dict[str, Any] = {"200": _answer("The prediction.", "application/json", "Prediction")}
    for status, about in _PROBLEMS.items():
        answers[status] = _answer(about, "application/problem+json", "Problem")
    title = " ".join(str(manifest.get(name) or "") for name in ("project", "model_name")).strip()
    return {
        "openapi": "3.1.0",
        "info": {"title": title or "Model", "version": str(manifest.get("version") or "1.0")},
        "paths": {
            f"/{manifest.get('slug') or 'model'}/": {
                "post": {
                    "operationId": "predict",
                    "summary": "Predict",
                    "security": [{"apikey": []}],
                    "requestBody": {"required": True, "content": _content(manifest)},
                    "responses": answers,
                }
            }
        },
        "components": {
            "securitySchemes": {"apikey": {"type": "apiKey", "in": "header", "name": "apikey"}},
            "schemas": {"Input": _input(manifest), "Prediction": _PREDICTION, "Problem": _PROBLEM},
        },
    }


def _answer(about: str, media: str, schema: str) -> dict[str, Any]:
    content = {media: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": about, "content": content}


def _content(manifest: Mapping[str, Any]) -> dict[str, Any]:
    media = (
        "application/json" if str(manifest.get("input_format", "JSON")).upper() == "JSON" else "text/plain"
    )
    return {media: {"schema": {"$ref": "#/components/schemas/Input"}}}


def _input(manifest: Mapping[str, Any]) -> dict[str, Any]:
    if str(manifest.get("input_format", "JSON")).upper() != "JSON":
        return {"type": "string", "description": "Text, as the model's script takes it."}
    signature = str(manifest.get("input_signature") or "unknown")
    fields = fields_of(manifest)
    if not fields:
        return {"description": f"JSON, as the model's script takes it. Signature of the model: {signature}"}
    properties = {name: _TYPES[kind] for name, kind in fields.items()}
    row: dict[str, Any] = {"type": "object", "properties": properties}
    if manifest.get("input_check") != ENFORCE:
        about = "What the model was trained on; its script may take something else."
        return row | {"description": f"{about} Signature: {signature}"}
    row["required"] = list(fields)
    listed = {
        "type": "array",
        "prefixItems": list(properties.values()),
        "minItems": len(fields),
        "maxItems": len(fields),
    }
    rows = {"type": "array", "items": {"anyOf": [row, listed]}}
    return {
        "description": "A row, or several, as the model's script takes them.",
        "anyOf": [row, listed, rows],
    }


_PREDICTION: dict[str, Any] = {
    "type": "object",
    "properties": {"prediction": {"description": "What the model's script returned."}},
    "required": ["prediction"],
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string"},
                    "message": {"type": "string"},
                    "row": {"type": "integer"},
                },
            },
        },
    },
    "required": ["title", "status", "detail"],
}
