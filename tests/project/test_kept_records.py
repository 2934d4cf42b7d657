"""The runs kept in results/: their configuration is the one that was scored, and their class is still there."""

from __future__ import annotations

import pytest
from helpers.paths import ROOT

from objbench.records import RECORD, read_run
from objbench.registry import load
from objbench.spec.resolve import hash_of
from objbench.train.run_folder import CONFIG, read_config

RUNS = sorted(path.parent for path in (ROOT / "results").rglob(CONFIG) if (path.parent / RECORD).exists())


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_the_configuration_of_a_kept_run_has_its_hash_and_names_a_class(folder):
    config = read_config(folder)
    assert hash_of(config) == read_run(folder).config_hash
    if "@" not in config["implementation"]:  # else of a plain file
        method = load(config["implementation"], "method")
        assert f"{method.__module__}:{method.__qualname__}" == config["implementation"]
