"""The description of the API, in OpenAPI 3.1, made of its operations."""

import re
from typing import Any

import msgspec

from mpota.server import shapes
from mpota.server.operations import OPERATIONS, Operation


def openapi() -> dict[str, Any]:
    """Return the description of the API, in OpenAPI 3.1."""
    kinds = {o.gives for o in OPERATIONS} | {o.body for o in OPERATIONS} | {shapes.Problem}
    kinds |= {o.query for o in OPERATIONS}
    ordered = sorted((kind for kind in kinds if kind), key=lambda kind: str(kind.__name__))
    schemas, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    by_kind = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        described: dict[str, Any] = {
            "operationId": operation.handle.__name__,
            "summary": operation.summary,
            "parameters": _parameters(operation, components),
            "responses": {
                "default": {
                    "description": "Why nothing was done.",
                    "content": {"application/json": {"schema": by_kind[shapes.Problem]}},
                }
            },
        }
        if operation.gives is None:
            described["responses"]["204"] = {"description": "The operation is done."}
        else:
            described["responses"]["200"] = {
                "description": "What was asked for.",
                "content": {"application/json": {"schema": by_kind[operation.gives]}},
            }
        if operation.is_upload:
            content = {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            }
            described["requestBody"] = {"required": True, "content": content}
        elif operation.body:
            content = {"application/json": {"schema": by_kind[operation.body]}}
            described["requestBody"] = {"required": True, "content": content}
        if operation.scope:
            described["security"] = [{"token": []}]
            described["description"] = f"Needs the scope {operation.scope}."
        paths.setdefault(f"/api{operation.path}", {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "mpota serve", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    kinds: dict[str, Any] = {
        "mac": {"type": "string", "pattern": "^[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}$"},
        "number": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
        "name": {"type": "string", "pattern": "^[!-.0-~]{1,32}$"},
    }
    made = [
        {"name": name, "in": "path", "required": True, "schema": kinds[name]}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    if operation.query:
        for name, schema in components[operation.query.__name__]["properties"].items():
            schema = {key: value for key, value in schema.items() if key != "default"}
            made.append({"name": name, "in": "query", "required": False, "schema": schema})
    return made
