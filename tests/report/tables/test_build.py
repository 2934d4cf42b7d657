from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.synthetic import external, generated, record, scored, scores

from objbench.errors import RequestError
from objbench.records import FoundRecord
from objbench.report.rows.measured import Selection, measured_rows
from objbench.report.rows.published import published_rows
from objbench.report.tables.build import build
from objbench.report.tables.paper import paper_plans
from objbench.report.tables.plan import dataset_plans
from objbench.report.write.export import as_csv, as_json
from objbench.report.write.text import markdown, text
from objbench.scores import Scores
from objbench.spec.load import load_spec

ALIGNED = {"protocol": "aligned", "on": {"test": scored(protocol="aligned")}}


def all_rows(*records):
    spec = load_spec()
    found = [FoundRecord(Path(str(i)), item) for i, item in enumerate(records)]
    return [*measured_rows(found, spec, Selection()).rows, *published_rows(spec)]


def plans(*records, datasets=()):
    return dataset_plans(all_rows(*records), datasets, load_spec())


def test_a_dataset_table_has_measured_trivial_and_published_lines_in_this_order():
    (plan,) = plans(record(method="color_kmeans"), record(0), record(1))
    table = build(plan, load_spec())
    labels = [line.label.text for line in table.lines]
    assert labels[:3] == ["objmae", "Colour k-means (trivial)", "IODINE"]
    assert labels.count("objmae") == 2
    assert table.headings == ["ARI-FG", "ARI", "mIoU", "mIoU-FG", "MSE"]
    assert [cell.text for cell in table.lines[0].cells] == [
        "90.0 ± 0.0", "80.0 ± 0.0", "70.0 ± 0.0", "60.0 ± 0.0", "0.00125 ± 0.00000",
    ]  # fmt: skip
    assert table.lines[0].facts == ("emorl", "2", "59,680")


def test_published_numbers_of_several_tables_stand_in_one_line():
    (plan,) = plans(record())
    (line,) = [
        row for row in plan.rows if row.published and (row.who.method, row.who.variant) == ("objmae", None)
    ]
    assert line.tables == ("1", "4", "5", "6")
    assert {m: v.mean for m, v in line.values.items()} == {"ari_fg": 0.995, "ari": 0.999, "miou": 0.997}


def test_every_protocol_and_every_also_test_set_has_a_table():
    both = record(
        metrics={"test": scores(), "clevrtex_ood": scores()},
        on={"test": scored(), "clevrtex_ood": scored("clevrtex_ood")},
    )
    titles = [plan.title for plan in plans(both, record(**ALIGNED))]
    assert titles == ["Tetrominoes", "Tetrominoes (aligned)", "ClevrTex OOD"]


def test_the_table_of_a_dataset_that_no_layer_describes_comes_last():
    mine = record(dataset="a_set", on={"test": scored("a_set")})
    assert [plan.title for plan in plans(mine, record())] == ["Tetrominoes", "a_set"]


@pytest.mark.parametrize(
    ("asked", "titles"),
    [
        (["tetrominoes"], ["Tetrominoes", "Tetrominoes (aligned)"]),
        (["tetrominoes@aligned"], ["Tetrominoes (aligned)"]),
        (["tetrominoes@standard"], ["Tetrominoes"]),
        (["clevr6", "tetrominoes@aligned"], ["CLEVR6", "Tetrominoes (aligned)"]),
    ],
)
def test_datasets_are_chosen_by_name_and_protocol(asked, titles):
    assert [plan.title for plan in plans(record(), record(**ALIGNED), datasets=asked)] == titles


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "objmae"),
        ({"on": {"test": scored(definition="deepmind")}}, "objmae (deepmind)"),
        (ALIGNED, "objmae @aligned"),
        ({"on": {"test": scored(split="val")}}, "objmae on val"),
    ],
)
def test_a_line_says_what_is_not_usual_of_its_scores(changes, label):
    (plan,) = plans(record(**changes))
    assert build(plan, load_spec()).lines[0].label.text == label


def test_a_line_of_several_datasets_says_once_what_they_share_and_has_no_value_where_there_is_none():
    sprites = {"dataset": "multi_dsprites", "on": {"test": scored("multi_dsprites")}}
    rows = [record(0), record(1), record(0, **sprites), record(1, **sprites)]
    rows += [record(0, "iodine"), record(0, "iodine", **sprites, n_train=1000), record(0, "monet")]
    plan, *_ = paper_plans("1", [row for row in all_rows(*rows) if not row.published], [])
    lines = build(plan, load_spec(), all_seeds=True).lines
    assert [line.facts for line in lines if line.label.text == "objmae"] == [("emorl", "2", "59,680")]
    assert [line.facts for line in lines if line.label.text == "IODINE"] == [("emorl", "1", "59,680/1,000")]
    first = next(i for i, line in enumerate(lines) if line.label.text == "MONet")
    for line in lines[first : first + 2]:  # the mean and the seed
        assert [cell.text for cell in line.cells] == ["90.0", "-", "-"]


def test_generated_data_is_marked_where_it_shares_a_column():
    (plan,) = plans(generated(), record(method="color_kmeans"))
    table = build(plan, load_spec())
    marked = next(line for line in table.lines if line.facts[0] == "generated")
    notes = [dict(table.legend)[letter] for letter in marked.label.marks]
    assert notes[0] == "generated data, not the upstream release (generator version 1, seed 0)"


def test_marks_of_one_dataset_stand_on_its_cells():
    on = {
        "test": scored("clevrtex"),
        "clevrtex_ood": scored("clevrtex_ood"),
        "clevrtex_camo": scored("clevrtex_camo", standard=False),
    }
    both = record(dataset="clevrtex", metrics=dict.fromkeys(on, scores()), on=on)
    table = build(paper_plans("2", all_rows(both), [])[1], load_spec())
    line = table.lines[0]
    legend = dict(table.legend)
    assert "trained on ClevrTex (emorl)" in [legend[letter] for letter in line.label.marks]
    nonstandard = "not the protocol's standard test split (320 images)"
    marked = [nonstandard in [legend[letter] for letter in cell.marks] for cell in line.cells]
    assert marked == [False, False, True, True]


def test_seeds_are_shown_on_demand():
    (plan,) = plans(record(0, metrics={"test": scores(ari_fg=0.5)}), record(7))
    assert not any("seed" in line.label.text for line in build(plan, load_spec()).lines)
    lines = build(plan, load_spec(), all_seeds=True).lines
    assert [(line.label.text, line.cells[0].text) for line in lines[1:3]] == [
        ("  seed 0", "50.0"),
        ("  seed 7", "90.0"),
    ]


def test_intervals_over_images_are_shown_on_demand_for_single_seeds():
    def with_interval(seed, mean, low, high):
        value = {"mean": mean, "std": 0.1, "interval": (low, high)}
        return record(seed, metrics={"test": Scores.model_validate({"n_images": 320, "ari_fg": value})})

    one, two = with_interval(0, 0.9, 0.891, 0.912), with_interval(1, 0.8, 0.79, 0.815)
    (plan,) = plans(one)
    assert build(plan, load_spec()).lines[0].cells[0].text == "90.0"
    assert build(plan, load_spec(), intervals=True).lines[0].cells[0].text == "90.0 [89.1, 91.2]"
    (plan,) = plans(one, two)
    assert "bootstrap" not in text(build(plan, load_spec()))
    assert "95 % bootstrap interval" in text(build(plan, load_spec(), intervals=True))
    lines = build(plan, load_spec(), all_seeds=True, intervals=True).lines
    assert [line.cells[0].text for line in lines[:3]] == [
        "85.0 ± 7.1",
        "90.0 [89.1, 91.2]",
        "80.0 [79.0, 81.5]",
    ]


def test_measured_values_have_as_many_decimals_as_the_published_beside_them():
    on = {"dataset": "clevrtex", "source": "official"}
    rows = all_rows(record(0, **on, metrics={"test": scores(miou=0.12361)}, on={"test": scored(**on)}))
    table = build(paper_plans("2", rows, [])[0], load_spec())
    texts = {line.label.text: [cell.text for cell in line.cells] for line in table.lines}
    assert texts["SPAIR*"] == ["0.00 ± 0.00", "0.00 ± 0.00"]
    assert texts["EfficientMORL"] == ["30.17 ± 2.60", "-"]
    assert table.lines[0].cells[0].text == "12.36"


def test_the_cost_table_prints_hours_and_names_the_device():
    plan = paper_plans("3", all_rows(record(wall_seconds=780.0)), [])[0]
    table = build(plan, load_spec())
    assert [cell.text for cell in table.lines[0].cells] == ["0.22", "-", "-", "-"]
    assert [cell.text for cell in table.lines[1].cells] == ["1.75", "4.50", "10.50", "15.00"]
    assert dict(table.legend)[table.lines[0].cells[0].marks[0]] == "on NVIDIA H200"


def test_ablation_tables_hold_ablations_only_and_the_comparison_none():
    rows = all_rows(
        record(), record(variant="no_masking"), record(variant="demo"), record(method="color_kmeans")
    )
    measured = [row.label for row in paper_plans("4", rows, [])[0].rows if not row.published]
    assert measured == ["objmae", "objmae:no_masking"]
    measured = [row.label for row in paper_plans("1", rows, [])[0].rows if not row.published]
    assert measured == ["objmae", "objmae:demo", "color_kmeans"]


def test_a_paper_table_is_narrowed_to_datasets():
    (first, _) = paper_plans("1", all_rows(), ["clevr6"])
    assert [column.dataset for column in first.columns] == ["clevr6"]
    with pytest.raises(RequestError, match="--table 1 has no column for clevrtex; it has tetrominoes"):
        paper_plans("1", all_rows(), ["clevrtex"])


def test_a_selection_is_made_on_clevrtex_carried_to_the_generalisation_lines_and_labelled_there():
    place = {"dataset": "clevrtex", "source": "official"}
    on = {"test": scored(**place)} | {
        name: scored(name, source="official") for name in ("clevrtex_ood", "clevrtex_camo")
    }
    seeds = [
        record(
            seed,
            **place,
            on=on,
            metrics={key: scores(miou=miou if key == "test" else 1 - miou, ari_fg=seed / 10) for key in on},
        )
        for seed, miou in enumerate((0.2, 0.5, 0.1, 0.6))
    ]
    found = [FoundRecord(Path(str(i)), item) for i, item in enumerate(seeds)]
    rows = measured_rows(found, load_spec(), Selection.parse("top:3:miou", load_spec())).rows
    own, others = (build(plan, load_spec()) for plan in paper_plans("2", rows, []))
    assert [cell.text for cell in own.lines[0].cells] == ["43.3 ± 20.8", "13.3 ± 15.3"]
    assert [cell.text for cell in others.lines[0].cells] == ["56.7 ± 20.8", "13.3 ± 15.3"] * 2
    words = "best 3 of 4 seeds by mIoU on the test split of ClevrTex"
    for table in (own, others):
        assert words in [dict(table.legend)[letter] for letter in table.lines[0].label.marks]


def test_text_is_aligned_and_never_cut():
    (plan,) = plans(record(method="a_method_with_quite_a_long_name_" * 4), record(method="color_kmeans"))
    printed = text(build(plan, load_spec())).splitlines()
    assert "a_method_with_quite_a_long_name_" * 4 in printed[4] + printed[5]
    heading, rule = printed[2], printed[3]
    assert set(rule) == {"-", " "}
    assert len(heading) == len(rule)
    assert "vikstrom2022: Vikström and Ilin, Learning Explicit" in "\n".join(printed)


def test_markdown_is_a_table_with_footnotes():
    printed = markdown(build(plans(generated())[0], load_spec())).splitlines()
    assert printed[0] == "### Tetrominoes"
    assert printed[2].startswith("| method | data | n | train | ARI-FG |")
    columns = {line.count("|") for line in printed if line.startswith("|")}
    assert len(columns) == 1
    assert "| objmae<sup>a</sup> | generated | 1 | 60,000 | 90.0 |" in printed[4]
    assert any(line.startswith("- <sup>a</sup> generated data") for line in printed)


def test_markdown_shows_signs_of_its_own_and_of_html_as_they_are():
    table = build(plans(generated())[0], load_spec())
    odd = replace(table, title="A|B <b>", explained=["1 < 2 &amp; `x` \\ *y*"])
    printed = markdown(odd).splitlines()
    assert printed[0] == r"### A\|B \<b>"
    assert r"- 1 \< 2 \&amp; \`x\` \\ \*y\*" in printed


def test_csv_has_a_line_per_metric_and_seed():
    lines = list(csv.DictReader(io.StringIO(as_csv(plans(record(0), record(1))))))
    measured = [line for line in lines if line["kind"] == "run" and line["metric"] == "ari_fg"]
    assert [(line["seed"], line["value"]) for line in measured] == [
        ("mean", "0.9"),
        ("0", "0.9"),
        ("1", "0.9"),
    ]
    assert measured[0]["fingerprint"] == "tetrominoes-test-fingerprint"
    (quoted,) = [x for x in lines if x["method"] == "iodine"]
    assert (quoted["value"], quoted["std"], quoted["citation"]) == ("0.992", "0.004", "greff2019")
    assert quoted["quoted_in"] == "vikstrom2022"


def test_json_has_every_row_with_its_provenance():
    rows = json.loads(as_json(plans(generated(0), generated(1), record(method="one_slot"))))
    first = rows[0]
    assert (first["name"], first["kind"], first["source"]) == ("objmae", "run", "generated")
    assert first["generator"] == {"version": 1, "seed": 0}
    assert first["values"]["ari_fg"]["seeds"] == {"0": 0.9, "1": 0.9}
    assert first["marks"][0].startswith("generated data")
    assert (first["code_version"], first["torch_version"]) == (["0.1.0"], ["2.13.0"])
    assert first["definitions"]["ari_fg"] == "foreground pixels only"
    assert {row["kind"] for row in rows} == {"run", "published"}


def test_programs_get_the_metrics_that_are_named_and_what_these_mean():
    first = json.loads(as_json(plans(record()), ["ari", "mse"]))[0]
    assert set(first["values"]) == set(first["definitions"]) == {"ari", "mse"}


def test_programs_are_told_what_predictions_made_outside_are_said_to_be_trained_on():
    place = "tetrominoes@standard/emorl"
    shown = plans(external(method="one", trained_on=place), external(method="other"))
    rows = [row for row in json.loads(as_json(shown)) if row["kind"] == "external"]
    assert {row["method"]: row["trained_on"] for row in rows} == {"one": place, "other": None}
    lines = [line for line in csv.DictReader(io.StringIO(as_csv(shown))) if line["kind"] == "external"]
    assert {line["method"]: line["trained_on"] for line in lines} == {"one": place, "other": ""}


def test_no_number_is_written_as_null():
    rows = json.loads(as_json(plans(record(metrics={"test": scores(mse=float("nan"))}))))
    assert rows[0]["values"]["mse"]["mean"] is None


@pytest.mark.parametrize(
    "other",
    [
        {"split": "val"},
        {"definition": "deepmind"},
    ],
)
def test_a_line_of_several_datasets_is_of_one_split_and_definition(other):
    rows = [
        record(),
        record(dataset="multi_dsprites", on={"test": scored("multi_dsprites", **other)}),
    ]
    spec = load_spec()
    plan, *_ = paper_plans("1", [row for row in all_rows(*rows) if not row.published], [])
    labels = [line.label.text for line in build(plan, spec).lines]
    assert len(labels) == 2
    assert sorted(labels)[0] == "objmae"


def test_published_numbers_in_a_table_of_another_protocol_say_that_they_are_of_another_set():
    (plan,) = plans(record(**ALIGNED))
    table = build(plan, load_spec())
    (letter,) = [
        letter for letter, text in table.legend if text == "on Tetrominoes, not on its protocol aligned"
    ]
    published = [line for line in table.lines if line.section == "published"]
    assert published
    assert all(letter in line.label.marks for line in published)
    (plan,) = plans(record())
    assert not any("not on its protocol" in text for _, text in build(plan, load_spec()).legend)


def test_published_rows_of_two_tables_are_exported_once():
    both = plans(record(), record(**ALIGNED))
    assert len(both) == 2
    names = [(one["kind"], one["name"], one["citation"], one["tables"]) for one in json.loads(as_json(both))]
    published = [name for name in names if name[0] == "published"]
    assert published
    assert len(published) == len({json.dumps(name) for name in published})
