"""The OpenAPI 3.1 document, generated from the table of routes."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .problems import Problem
from .routing import ID, Route

TEMPLATE = "#/components/schemas/{model}"
ERRORS = {
    400: "The request cannot be read",
    401: "Not signed in",
    403: "The caller's roles do not allow this",
    404: "There is no such thing, or not for this caller",
    409: "Not possible in the present state",
    413: "Too large",
    422: "The input is not valid",
    424: "A server that the input or a credential names does not do its part",
    503: "A part of the platform is not available",
    507: "The storage is full",
}


def _schemas(routes: Iterable[Route]) -> tuple[dict[Any, Any], dict[str, Any]]:
    inputs: list[tuple[type[BaseModel], Any]] = [(Problem, "serialization")]
    for route in routes:
        if route.body:
            inputs.append((route.body, "validation"))
        inputs.append((route.query, "validation"))
        if route.returns:
            inputs.append((route.returns, "serialization"))
    return models_json_schema(list(dict.fromkeys(inputs)), ref_template=TEMPLATE)


def _name(ref: dict[str, str]) -> str:
    return ref["$ref"].rpartition("/")[2]


def _drop_defaults(schema: dict[str, Any]) -> None:
    """What a change leaves out stays as it is, so its fields have no defaults."""
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


def _operation(route: Route, refs: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary, "tags": [route.tag]}
    query = components[_name(refs[route.query, "validation"])]
    operation["parameters"] = [_path_parameter(name) for name in route.parameters] + [
        {
            "name": name,
            "in": "query",
            "required": name in query.get("required", []),
            "schema": {k: v for k, v in schema.items() if k not in ("title", "description")},
            **({"description": schema["description"]} if "description" in schema else {}),
        }
        for name, schema in query.get("properties", {}).items()
    ]
    if route.body:
        operation["requestBody"] = {
            # No body says the same as an empty object, where that says enough.
            "required": any(field.is_required() for field in route.body.model_fields.values()),
            "content": {"application/json": {"schema": refs[route.body, "validation"]}},
        }
    if route.upload:
        operation["requestBody"] = {
            # An empty file is a file.
            "required": False,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    operation["responses"] = _responses(route, refs)
    return operation


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", **({"pattern": f"^{ID}$"} if name.endswith("_id") else {"minLength": 1})}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _responses(route: Route, refs: dict[Any, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done"}
    if route.returns:
        success["content"] = {"application/json": {"schema": refs[route.returns, "serialization"]}}
    if route.stream:
        kind = "object" if route.stream.endswith("+json") else "string"
        success.setdefault("content", {})[route.stream] = {"schema": {"type": kind}}
    responses: dict[str, Any] = {str(status): success for status in (route.status, *route.also)}
    problem = {"application/problem+json": {"schema": refs[Problem, "serialization"]}}
    errors = ERRORS
    if "206" in responses:
        responses["304"] = {"description": "The caller has this version"}
        errors = {**ERRORS, 416: "There is no such part"}
    for status, description in errors.items():
        responses[str(status)] = {"description": description, "content": problem}
    return dict(sorted(responses.items()))


def document(routes: list[Route], *, prefix: str, version: str) -> dict[str, Any]:
    """The document for these routes.

    Parameters
    ----------
    routes
        The API's table.
    prefix
        Path of the API, without a trailing slash.
    version
        Version of the product.
    """
    refs, definitions = _schemas(routes)
    components = definitions.get("$defs", {})
    for name, schema in components.items():
        if name.endswith("Edit"):
            _drop_defaults(schema)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = re.sub(r":path}", "}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, refs, components)
    used = {
        name: schema
        for name, schema in components.items()
        if not name.endswith("Query") or "properties" in schema
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "A360",
            "version": version,
            "description": "Projects, data, models, review, packages and endpoints.",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": prefix}],
        "security": [{"token": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": used,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of the Hub."}
            },
        },
    }
