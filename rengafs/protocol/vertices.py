"""The original API's graph notation: a vertex with typed, multi-valued properties.

Source of the facts: the explorer section of the Renga storage API as the SDK
``renga 0.1.0.dev20171123`` reads it.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

BUCKET = "resource:bucket"
FILE = "resource:file"
FILE_VERSION = "resource:file_version"

Cardinality = Literal["single", "set", "list"]


class Value(msgspec.Struct, frozen=True):
    """One value of a property."""

    key: str
    data_type: str
    value: Any


class Property(msgspec.Struct, frozen=True):
    """A property with all its values."""

    key: str
    data_type: str
    cardinality: Cardinality
    values: list[Value]


class Vertex(msgspec.Struct, frozen=True):
    """A bucket, file or version as the explorer describes it."""

    id: int
    types: list[str]
    properties: list[Property]


class VertexData(msgspec.Struct, frozen=True):
    """The explorer's envelope around one file."""

    data: Vertex


def make(number: int, kind: str, properties: Mapping[str, str | int | list[str]]) -> Vertex:
    """Return a vertex; a list becomes a property of cardinality ``set``."""
    return Vertex(number, [kind], [_property(k, v) for k, v in properties.items()])


def _property(key: str, value: str | int | list[str]) -> Property:
    values = value if isinstance(value, list) else [value]
    data_type = "long" if isinstance(value, int) else "string"
    cardinality: Cardinality = "set" if isinstance(value, list) else "single"
    return Property(key, data_type, cardinality, [Value(key, data_type, v) for v in values])


def flatten(vertex: Vertex) -> dict[str, Any]:
    """Return the properties by key: one value, or a list where there may be several."""
    return {
        prop.key: prop.values[0].value
        if prop.cardinality == "single"
        else [value.value for value in prop.values]
        for prop in vertex.properties
    }
