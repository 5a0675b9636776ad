"""The API's own description: OpenAPI 3.1, made of the endpoint table."""

import re
from typing import Any

import msgspec

from rengafs.protocol.endpoints import ALL, FRAMES, Endpoint, Media
from rengafs.protocol.errors import Problem
from rengafs.protocol.frames import MEDIA_TYPE
from rengafs.service.applying import Several

REFERENCES = "#/components/schemas/{name}"


def describe(version: str) -> dict[str, Any]:
    """Return the description as JSON values."""
    types = [Problem, Several]
    for endpoint in ALL:
        given = [endpoint.body, endpoint.answer]
        types += [kind for kind in given if kind is not None and not isinstance(kind, Media)]
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCES)
    by_type = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ALL:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "rengafs", "version": version},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint[Any], by_type: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": _path_parameters(endpoint) + _query_parameters(endpoint),
        "responses": {
            str(endpoint.status): {
                "description": "Done.",
                "content": _content(endpoint.answer, by_type),
            },
            "default": {
                "description": "An error.",
                "content": _content(Problem, by_type),
            },
        },
    }
    if endpoint.body is not None:
        content = _content(endpoint.body, by_type)
        if endpoint.body == FRAMES:
            content |= _content(Several, by_type)
            content[MEDIA_TYPE] = {
                "schema": {"type": "string", "format": "binary"},
                "x-frames": "JSON lines, each followed by as many bytes as its `payload` says",
            }
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _content(kind: Any, by_type: dict[str, Any]) -> dict[str, Any]:
    if isinstance(kind, Media):
        return {kind.type: {"schema": {"type": "string", "format": "binary"}}}
    return {"application/json": {"schema": by_type[repr(kind)]}}


def _path_parameters(endpoint: Endpoint[Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer"}}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint[Any]) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = msgspec.json.schema(endpoint.query)
    fields = schema["$defs"][endpoint.query.__name__]
    required = fields.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in fields["properties"].items()
    ]
