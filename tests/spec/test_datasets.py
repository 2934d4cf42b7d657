from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from objbench.spec.datasets import DatasetSpec


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (
            {"sources": {"release": {"test": {"records": [0, 10]}}}},
            "protocols.p.sources.release.test.records: only where the protocol selects scenes; give start and stop",
        ),
        (
            {"sources": {"release": {"test": {}}}, "options": {"level": 2}},
            "protocols.p.options: they are those of a generator, and the protocol has no source 'generated'",
        ),
        (
            {"sources": {"release": {"test": {}}}, "height": 8192, "width": 2049},
            "protocols.p: images of 8192x2049 pixels, expected at most 16,777,216",
        ),
    ],
)
def test_what_a_protocol_would_ignore_or_nobody_could_read_is_refused(
    protocol: dict[str, Any], message: str
) -> None:
    block = {
        "title": "t", "description": "d", "slots": 4, "height": 8, "width": 8, "default_source": "release",
        "sources": {"release": {"title": "t", "licence": "l"}}, "protocols": {"p": {"description": "d", **protocol}},
    }  # fmt: skip
    with pytest.raises(ValidationError, match=re.escape(message)):
        DatasetSpec.model_validate(block)
