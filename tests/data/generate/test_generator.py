"""Which generator makes the scenes of a dataset, and with which options."""

from __future__ import annotations

from pathlib import Path

import pytest

from objbench.data.generate.clevr.generator import Clevr
from objbench.data.generate.generator import Generator, generator_of
from objbench.errors import RequestError
from objbench.spec.load import load_spec


def with_options(folder: Path, options: str) -> Generator:
    (folder / "mine.yaml").write_text(
        f"datasets: {{clevr6: {{protocols: {{standard: {{options: {options}}}}}}}}}"
    )
    return generator_of(load_spec(folder / "mine.yaml").dataset("clevr6"))


@pytest.mark.parametrize(("options", "alike"), [("{alike: true}", True), ("{alike: no}", False)])
def test_options_have_the_types_of_the_generator(tmp_path: Path, options: str, alike: bool) -> None:
    made = with_options(tmp_path, options)
    assert isinstance(made, Clevr)
    assert (made.max_objects, made.alike) == (6, alike)
    assert type(made.alike) is bool


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{alike: 'no'}", "the option 'alike' of clevr is 'no', expected true or false"),
        ("{alike: 2}", "the option 'alike' of clevr is 2, expected true or false"),
        ("{max_objects: 6.0}", "the option 'max_objects' of clevr is 6.0, expected a whole number"),
        ("{side: '64'}", "the option 'side' of clevr is '64', expected a whole number"),
        ("{sides: 64}", "unknown option of the clevr generator 'sides': did you mean 'side'"),
    ],
)
def test_options_of_other_types_are_refused(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        with_options(tmp_path, options)
