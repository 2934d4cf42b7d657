"""Tables of probes from records, in every format."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from helpers import toy_runs
from helpers.commands import call, refused

from objbench.records import Run, read_record
from objbench.scores import FactorScore, ProbeScores

FACTORS = {"shape": "accuracy", "x": "r2"}


def with_probe(
    folder: Path, shape: float, x: float, name: str = "linear", key: str = "test", **changes
) -> Run:
    """Write a probe with these scores into the record in `folder`."""
    record = read_record(folder)
    assert isinstance(record, Run)

    def score(measure: str, value: float) -> FactorScore:
        beside = {} if record.method == "color_kmeans" else {"masks": value - 0.1, "untrained": value / 2}
        return FactorScore(
            measure=measure, score=value, interval=(value - 0.01, value + 0.01), majority=0.25, **beside
        )

    found = ProbeScores(
        probe="linear",
        matching="masks",
        n_train=20,
        train_fingerprint=record.fingerprint,
        n_images=10,
        n_objects=30,
        missed=0.1,
        factors={"shape": score("accuracy", shape), "x": score("r2", x)},
        means={"accuracy": score("accuracy", shape), "r2": score("r2", x)},
        scored=record.scored["test"],
    ).model_copy(update=changes)
    record = record.with_probe(key, name, found)
    record.save(folder)
    return record


@pytest.fixture(scope="module")
def runs(prepared_data, tmp_path_factory) -> Path:
    """Two seeds of a method and one of a trivial one, all probed alike."""
    runs = tmp_path_factory.mktemp("runs")
    for seed, shape, x in ((0, 0.5, 0.9), (1, 0.7, 0.8)):
        with_probe(toy_runs.run(prepared_data, runs, seed=seed)[0], shape, x)
    with_probe(toy_runs.run(prepared_data, runs, "color_kmeans")[0], 0.65, 0.4)
    return runs


def made(runs: Path, *options: object) -> str:
    result = call("report", "--runs", runs, "--probes", "all", *options)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_three_lines_a_method_and_one_for_the_majority(runs):
    lines = made(runs, "--format", "markdown").splitlines()
    assert lines[0] == (
        "### Tetrominoes, generated, test: linear probe of 20 scenes, tested on 10 images, not the protocol's standard split"
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0] == [
        "method",
        "read from",
        "n",
        "accuracy shape",
        "R2 x",
        "accuracy mean",
        "R2 mean",
        "missed",
    ]
    assert rows[2][1:] == [
        "slots",
        "2",
        "60.0 ± 14.1",
        "**85.0 ± 7.1**",
        "60.0 ± 14.1",
        "**85.0 ± 7.1**",
        "10.0",
    ]
    assert rows[3] == ["", "masks alone", "2", "50.0 ± 14.1", "75.0 ± 7.1", "50.0 ± 14.1", "75.0 ± 7.1", ""]
    assert rows[4][1:4] == ["untrained", "2", "30.0 ± 7.1"]
    assert rows[5][1:5] == ["slots", "1", "**65.0**", "40.0"]
    assert [row[0].partition("<")[0] for row in rows[2:]] == [
        "Toy", "", "", "Colour k-means", "majority",
    ]  # fmt: skip
    assert rows[6][:5] == ["majority", "", "", "25.0 ± 0.0", "25.0 ± 0.0"]
    assert len(rows) == 7
    assert "masks alone: the same probe" in "\n".join(lines)
    assert not any("seeds probed" in line for line in lines)


@pytest.mark.parametrize("dataset", ["tetrominoes", "tetrominoes@standard"])
def test_probes_of_a_dataset_are_those_tested_on_its_scenes(runs, dataset):
    assert made(runs, "--json", "--dataset", dataset) == made(runs, "--json")


def test_the_whole_standard_split_needs_no_remark(prepared_data, tmp_path):
    folder, _ = toy_runs.run(prepared_data, tmp_path)
    on = read_record(folder).scored["test"].model_copy(update={"standard": True})
    with_probe(folder, 0.5, 0.9, scored=on)
    (title,) = [line for line in made(tmp_path, "--format", "markdown").splitlines() if line[:3] == "###"]
    assert title == "### Tetrominoes, generated, test: linear probe of 20 scenes"


@pytest.mark.parametrize("format", ["terminal", "latex", "html"])
def test_other_formats_have_the_same_numbers(runs, format):
    text = made(runs, "--format", format)
    assert all(number in text for number in ("85.0", "60.0", "40.0", "25.0"))
    assert "masks alone" in text


def test_for_programs(runs):
    objects = json.loads(made(runs, "--json"))
    assert [(one["method"], one["seed"]) for one in objects] == [
        ("toy_geco", 0),
        ("toy_geco", 1),
        ("color_kmeans", 0),
    ]
    assert objects[1]["factors"]["x"]["score"] == 0.8
    lines = list(csv.DictReader(made(runs, "--format", "csv").splitlines()))
    assert len(lines) == 3 * 4
    assert lines[5]["factor"] == "x"
    assert float(lines[5]["slots"]) == 0.8
    assert [line["factor"] for line in lines[:4]] == ["shape", "x", "mean accuracy", "mean r2"]
    assert lines[-1]["masks"] == ""
    assert float(lines[0]["low"]) == pytest.approx(0.49)


def test_probes_of_other_scenes_stand_in_a_table_of_their_own(runs, prepared_data, tmp_path):
    for seed, scenes in ((0, 20), (1, 24)):
        with_probe(toy_runs.run(prepared_data, tmp_path, seed=seed)[0], 0.5, 0.5, n_train=scenes)
    with_probe(tmp_path / "tetrominoes/generated/toy_geco/seed-0", 0.5, 0.5, name="mlp")
    lines = made(tmp_path, "--format", "markdown").splitlines()
    titles = [line for line in lines if line.startswith("###")]
    assert [title.split(": ")[1].partition(",")[0] for title in titles] == [
        "linear probe of 20 scenes", "mlp probe of 20 scenes", "linear probe of 24 scenes",
    ]  # fmt: skip
    only = call("report", "--runs", tmp_path, "--probes", "mlp", "--format", "markdown").stdout
    assert only.count("###") == 1
    assert "mlp probe" in only


def test_the_page_has_them_below_the_tables(runs):
    page = call("report", "--runs", runs, "--format", "html").stdout
    assert "linear probe of 20 scenes" in page
    assert "masks alone" in page
    assert "85.0" in page


@pytest.mark.parametrize(
    ("code", "options", "message"),
    [
        (2, ("--probes", "lineal"), "unknown probe 'lineal': did you mean 'linear'?"),
        (2, ("--probes", "all", "--table", "1"), "--table and --probes exclude each other"),
        (2, ("--probes", "all", "--metrics", "ari"), "--metrics is not for --probes all"),
        (1, ("--probes", "mlp+loss"), "has such probes: objbench probe RUN"),
        (1, ("--probes", "all", "--dataset", "clevr6"), "has such probes: objbench probe RUN"),
    ],
)
def test_refused(runs, code, options, message):
    assert message in refused(code, "report", "--runs", runs, *options)


def test_scenes_of_another_dataset_say_by_its_title_what_the_method_was_trained_on(prepared_data, tmp_path):
    folder, _ = toy_runs.run(prepared_data, tmp_path / "runs")
    on = read_record(folder).scored["test"].model_copy(update={"dataset": "clevrtex_ood"})
    with_probe(folder, 0.5, 0.9, key="clevrtex_ood", scored=on)
    assert "trained on Tetrominoes (generated)" in made(tmp_path / "runs")


def test_selected_seeds_say_so_and_are_not_the_best_beside_all_seeds(runs):
    chosen = made(runs, "--format", "markdown", "--select", "top:1:miou")
    assert "best 1 of 2 seeds by mIoU on the test split of Tetrominoes" in chosen
    assert "**" not in chosen  # two rows, of which one is of a chosen seed
    for one in json.loads(made(runs, "--json", "--select", "top:1:miou")):
        assert one["selection"].startswith("best 1 of 2" if one["method"] == "toy_geco" else "all")
    lines = csv.DictReader(made(runs, "--format", "csv").splitlines())
    assert {line["selection"] for line in lines} == {"all"}


def test_methods_of_fewer_training_scenes_say_so_and_are_not_compared(prepared_data, tmp_path):
    with_probe(toy_runs.run(prepared_data, tmp_path)[0], 0.5, 0.5)
    folder, _ = toy_runs.run(prepared_data, tmp_path, seed=1)
    few = with_probe(folder, 0.9, 0.9).model_copy(update={"n_train": 7})
    few.save(folder)
    found = made(tmp_path, "--format", "markdown")
    assert "trained on 7 scenes, the protocol has 60,000" in found
    assert "**" not in found


def test_seeds_that_were_not_probed_are_named(prepared_data, tmp_path):
    with_probe(toy_runs.run(prepared_data, tmp_path)[0], 0.5, 0.5)
    toy_runs.run(prepared_data, tmp_path, seed=1)
    assert "1 of 2 seeds probed" in made(tmp_path, "--format", "markdown")
