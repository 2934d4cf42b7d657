"""docs/baselines.md, docs/miniatures.md and docs/trials.md beyond the numbers that tools/tables writes: words, order, numbers in the text."""

from __future__ import annotations

import re

from docs_tables import DOCS, METHODS, ROOT, SPEC, names, parameters, rows_of, steps

from objbench.spec.schema import GROUPS

BASELINES = (DOCS / "baselines.md").read_text()


def test_the_table_of_all_methods_says_something_of_each_in_the_order_of_the_groups() -> None:
    rows = rows_of(BASELINES, "method")
    groups = [row["group"] for row in rows]
    assert groups == sorted(groups, key=list(GROUPS).index)
    for row in rows:
        assert all(row[column] for column in ("idea", "masks", "what to expect")), row["method"]


def test_costs_were_counted_for_every_method_with_the_parameters_that_the_code_has() -> None:
    listed = {names(row["a step"])[0] for row in rows_of(BASELINES, "a step")}
    assert listed >= {name for name, block in METHODS.items() if not block.trivial}
    for name, datasets in steps().items():
        for dataset, precisions in datasets.items():
            for step in precisions.values():
                assert step["parameters"] == parameters(name.split(", ")[0], dataset), f"{name} on {dataset}"


def test_other_counts_of_miniatures_are_those_of_the_code() -> None:
    page = (DOCS / "trials.md").read_text()
    told = re.findall(r"`(\w+:demo)`, ([\d,]+) parameters", page)
    assert told
    assert told == [(name, f"{parameters(name, 'tetrominoes'):,}") for name, _ in told]


def test_the_steps_of_presets_for_the_small_clevr_are_those_of_the_yaml() -> None:
    rows = rows_of((DOCS / "trials.md").read_text(), "settings of")
    told = {names(row["settings of"])[0]: row["steps, batch"] for row in rows}
    presets = {
        f"{name}:demo": block.variants["demo"] for name, block in METHODS.items() if "demo" in block.variants
    }
    recipes = {
        name: {**preset.config["recipe"], **preset.datasets.get("clevr_small", {}).get("recipe", {})}
        for name, preset in presets.items()
        if "clevr_small" in preset.datasets or "made for clevr_small" in preset.description
    }
    assert told == {name: f"{r['steps']:,}, {r['batch_size']}" for name, r in recipes.items()}
    assert SPEC.datasets["clevr_small"].image_shape[1:] == (64, 64)


def test_the_table_of_ablations_is_that_of_the_reports() -> None:
    """Means, success and differences stand in results/miniature/ablations, which tools/miniature writes."""
    reports = ROOT / "results/miniature/ablations"
    lines = (reports / "tetrominoes@aligned.md").read_text().replace("*", "").splitlines()
    rows = rows_of((DOCS / "miniatures.md").read_text(), "variant")
    assert len(rows) == 6
    for row in rows:
        (variant,) = names(row["variant"])
        title = f"| objmae ({variant.replace('_', ' ')}) @aligned<sup>"
        (reported,) = (line.split(" | ") for line in lines if line.startswith(title))
        n, _, fg, ari, miou, *_, success = reported[2:]
        assert (fg, ari, miou) == (row["ARI-FG"], row["ARI"], row["mIoU"]), variant
        assert success.split(" ")[0] == row["seeds above 73"].replace(" of ", "/")
        assert n == row["seeds above 73"].split()[-1]
        if variant != "stable":
            compared = (reports / f"tetrominoes@aligned-{variant}.md").read_text()
            (difference,) = re.findall(r"^\| ARI-FG \| \S+ \| \S+ \| (\S+) \| (.*?\]) \|", compared, re.M)
            assert " ".join(difference).removeprefix("+") == row["difference in ARI-FG"]
