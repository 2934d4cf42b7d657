"""Parse a tf.train.Example with Google's protobuf package, from a description of the message."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from objbench.data.scene import Array
from objbench.data.sources.tfrecord import Feature

PACKAGE = "objbench.bench"


def parse_generically(payload: bytes, features: Mapping[str, Feature]) -> dict[str, Array]:
    """The declared features as arrays."""
    example = _example()()
    example.ParseFromString(payload)
    found = {entry.key: entry.value for entry in example.features.feature}
    arrays = {}
    for name, declared in features.items():
        if declared.kind == "bytes":
            flat = np.frombuffer(b"".join(found[name].bytes_list.value), np.uint8)
        else:
            flat = np.array(found[name].float_list.value, np.float32)
        arrays[name] = flat.reshape(declared.shape)
    return arrays


@cache
def _example() -> Any:
    """The message class. Its map of features is declared as repeated pairs, which is how a map is encoded."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package=PACKAGE, syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, int, str | None]) -> None:
        described = file.message_type.add(name=name)
        for field, number, type_, label, of in fields:
            described.field.add(name=field, number=number, type=type_, label=label, type_name=of)

    one, many = kind.LABEL_OPTIONAL, kind.LABEL_REPEATED

    def of(name: str) -> str:
        return f".{PACKAGE}.{name}"

    message("BytesList", ("value", 1, kind.TYPE_BYTES, many, None))
    message("FloatList", ("value", 1, kind.TYPE_FLOAT, many, None))
    message(
        "Feature",
        ("bytes_list", 1, kind.TYPE_MESSAGE, one, of("BytesList")),
        ("float_list", 2, kind.TYPE_MESSAGE, one, of("FloatList")),
    )
    message(
        "Entry",
        ("key", 1, kind.TYPE_STRING, one, None),
        ("value", 2, kind.TYPE_MESSAGE, one, of("Feature")),
    )
    message("Features", ("feature", 1, kind.TYPE_MESSAGE, many, of("Entry")))
    message("Example", ("features", 1, kind.TYPE_MESSAGE, one, of("Features")))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Example"))
