"""The best of a column, among those only that may be compared."""

from __future__ import annotations

import io

from helpers.rows import measured
from helpers.synthetic import generated, record, scored, scores
from rich.console import Console

from objbench.report.rows.measured import Selection
from objbench.report.rows.published import published_rows
from objbench.report.rows.success import Success
from objbench.report.tables.build import build
from objbench.report.tables.paper import paper_plans
from objbench.report.tables.plan import Column, Plan, dataset_plans
from objbench.report.tables.table import Cell, Line, Table
from objbench.report.write.terminal import print_table
from objbench.report.write.text import markdown, text
from objbench.spec.load import load_spec


def best(rows, metric, dataset="tetrominoes"):
    """(label, data, text) of the bold cells."""
    table = build(Plan("t", (Column(dataset, metric),), rows), load_spec())
    return [
        (line.label.text, line.facts[0], line.cells[0].text) for line in table.lines if line.cells[0].best
    ]


def run(method, **values):
    return record(method=method, metrics={"test": scores(**values)})


def test_the_highest_score_and_the_lowest_error_are_best():
    rows = measured(run("objmae", ari=0.9, mse=0.002), run("monet", ari=0.8, mse=0.001))
    assert best(rows, "ari") == [("objmae", "emorl", "90.0")]
    assert best(rows, "mse") == [("MONet", "emorl", "0.00100")]


def test_of_a_plugin_s_error_the_lowest_is_best_and_of_what_no_layer_describes_none_is(tmp_path):
    layer = tmp_path / "own.yaml"
    layer.write_text("metrics: {boundary_error: {title: Boundary error, better: lower}}")
    found = [run("objmae", boundary_error=0.05, unknown=0.05), run("monet", boundary_error=0.4, unknown=0.4)]
    rows = measured(*found, spec=load_spec(layer))
    assert best(rows, "boundary_error") == [("objmae", "emorl", "0.05000")]
    assert best(rows, "unknown") == []


def test_what_prints_the_same_is_best_together_and_all_alike_is_no_best():
    rows = measured(run("objmae", ari=0.9001), run("monet", ari=0.9), run("iodine", ari=0.5))
    assert best(rows, "ari") == [("MONet", "emorl", "90.0"), ("objmae", "emorl", "90.0")]
    assert best(measured(run("objmae", ari=0.9001), run("monet", ari=0.9)), "ari") == []


def test_one_number_alone_is_never_best():
    assert best(measured(run("objmae")), "ari") == []
    assert best([*measured(generated()), *measured(run("monet"))], "ari") == []


def test_generated_data_is_best_only_among_generated_data():
    made = [generated(method="objmae"), generated(method="monet")]
    made[1] = generated(method="monet", metrics={"test": scores(ari=0.99)})
    rows = measured(*made, run("iodine", ari=0.3), run("grid", ari=0.2))
    assert best(rows, "ari") == [("MONet", "generated", "99.0"), ("IODINE", "emorl", "30.0")]


def test_another_split_definition_or_training_set_is_not_compared():
    reference = run("objmae", ari=0.5)
    for changed in (
        {"on": {"test": scored(fingerprint="another")}},
        {"on": {"test": scored(standard=False)}},
        {"on": {"test": scored(definition="deepmind")}},
        {"on": {"test": scored(height=64)}},
        {"n_train": 1000},
        {"protocol": "other"},
    ):
        assert best(measured(reference, record(method="monet", **changed)), "ari") == []


def test_trained_methods_of_two_sizes_are_each_compared_with_a_trivial_one_and_not_with_each_other():
    rows = measured(run("grid", ari=0.1), run("objmae", ari=0.5), record(method="monet", n_train=1000))
    assert best(rows, "ari") == [("MONet", "emorl", "80.0"), ("objmae", "emorl", "50.0")]


def test_published_numbers_are_compared_where_protocol_and_definition_agree():
    (plan, _) = paper_plans("2", published_rows(load_spec()), [])
    (first, second) = (best(plan.rows, metric, "clevrtex") for metric in ("miou", "ari_fg"))
    assert first == [
        ("GNM", "karazija2021", "42.25 ± 0.18")
    ]  # ast and objmae: with the background, and no protocol
    assert second == [("DTI-Sprites", "karazija2021", "79.90 ± 1.37")]


def test_numbers_of_the_same_standard_test_split_are_compared_across_papers():
    rows = [*measured(run("monet", ari_fg=0.98)), *published_rows(load_spec())]
    assert ("MONet", "emorl", "98.0") not in best(rows, "ari_fg")
    rows = [*measured(run("monet", ari_fg=0.999)), *published_rows(load_spec())]
    assert best(rows, "ari_fg") == [("MONet", "emorl", "99.9")]


def test_selected_seeds_are_not_compared_with_all_seeds():
    chosen = measured(
        record(0), record(1, metrics={"test": scores(miou=0.1)}), selection=Selection(1, "miou")
    )
    rows = [*chosen, *measured(run("monet", miou=0.2))]
    assert best(rows, "miou") == []


def test_costs_and_success_rates_are_never_best():
    rows = measured(run("objmae"), record(method="monet", wall_seconds=60.0))
    assert best(rows, "hours") == []
    column = Column("tetrominoes", "ari_fg", Success("ari_fg", 0.5))
    rows = measured(run("objmae", ari_fg=0.9), run("monet", ari_fg=0.1))
    table = build(Plan("t", (column,), rows), load_spec())
    assert [cell.best for line in table.lines for cell in line.cells] == [False, False]


def test_the_best_is_bold_in_markdown_and_on_a_terminal_and_plain_in_a_pipe():
    rows = measured(run("objmae", ari=0.9), run("monet", ari=0.8))
    table = build(dataset_plans(rows, [], load_spec())[0], load_spec())
    assert "| **90.0** |" in markdown(table)
    assert "- Bold: the best of those" in markdown(table)
    assert "**" not in text(table)
    assert "Bold" not in text(table)
    screen = io.StringIO()
    print_table(table, Console(file=screen, force_terminal=True, color_system="standard", width=120))
    assert "\x1b[1m90.0\x1b[0m" in screen.getvalue()
    assert "\x1b[1m80.0" not in screen.getvalue()
    assert "Bold: the best of those" in screen.getvalue()


def test_a_table_without_a_best_does_not_explain_it():
    table = Table("t", "method", (), [""], ["ari"], [Line("s", Cell("m"), (), [Cell("1")])])
    assert "Bold" not in markdown(table)
