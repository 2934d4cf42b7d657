"""The page as a document: what stands in it, that it needs nothing else, and that nothing in it can break out."""

from __future__ import annotations

import base64
import hashlib
import re

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder
from helpers.html import Document, made, rows_in, shown_runs
from helpers.paths import ROOT
from helpers.run_artifacts import per_image, predicted, save_run, scenes
from helpers.synthetic import GENERATED, external, record, scored, scores

from objbench.report.html.page import page
from objbench.report.html.runs import runs_of
from objbench.report.rows.collect import collect
from objbench.report.rows.measured import Selection
from objbench.report.tables.build import build
from objbench.report.tables.hyperparameters import hyperparameters, hyperparameters_table
from objbench.report.tables.paper import paper_plans
from objbench.report.tables.plan import dataset_plans
from objbench.spec.load import load_spec


def test_ids_are_unique_and_links_lead_to_them(document):
    assert len(set(document.ids)) == len(document.ids)
    inside = {link for link in document.links if link.startswith("#")}
    assert {link.removeprefix("#") for link in inside} <= set(document.ids)
    references = set(document.links) - inside
    assert "https://arxiv.org/abs/2210.14139" in references
    assert references <= {reference.url for reference in load_spec().references.values()}


def test_nothing_is_loaded_from_anywhere(text, document):
    assert [link for link in document.loads if not link.startswith("data:")] == []
    style = next(content for tag, _, content in document.raw if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    code = document.raw[-1][2]
    assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|https?://(?!www\.w3\.org/2000/svg)", code)


def test_only_the_own_style_and_script_are_allowed(document):
    for tag, given, content in document.raw:
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        if given.get("type") != "application/json":
            assert f"{tag}-src 'sha256-{digest}'" in document.policy
    assert document.policy.startswith("default-src 'none'; img-src data:;")


def test_the_same_input_gives_the_same_text(runs, text):
    assert made(runs) == text


@pytest.mark.parametrize("intervals", [False, True])
def test_every_number_is_that_of_the_table(runs, intervals):
    spec, rows = rows_in(runs)
    plans = dataset_plans(rows, [], spec)
    lines = Document(page(plans, spec, intervals)).lines
    for plan in plans:
        for line in build(plan, spec, all_seeds=True, intervals=intervals).lines:
            expected = [line.label.text.strip(), *line.facts, *(cell.text for cell in line.cells)]
            assert expected in lines


def test_what_the_table_calls_best_is_bold(runs, text):
    spec, rows = rows_in(runs)
    built = [build(plan, spec) for plan in dataset_plans(rows, [], spec)]
    best = [cell.text for table in built for line in table.lines for cell in line.cells if cell.best]
    assert best
    assert re.findall(r"<strong>(.*?)</strong>", text) == [value.partition(" ± ")[0] for value in best]


def test_marks_lead_to_the_notes_of_their_table(text):
    assert re.search(r'<a href="#t0-a">a</a>', text)
    assert re.search(r'<li id="t0-a"><span class="letter">a</span> <span class="note">[^<]+</span>', text)


def test_tables_of_several_datasets_have_headings_above_headings(runs):
    spec, rows = rows_in(runs)
    document = Document(page(paper_plans("2", rows, []), spec))
    assert ["ClevrTex OOD", "ClevrTex CAMO"] in [[cell for cell in line if cell] for line in document.lines]


def test_tables_without_rows_stand_as_they_are():
    spec = load_spec()
    document = Document(
        page([], spec, tables=[hyperparameters_table(hyperparameters("7", spec, ["tetrominoes"]), spec)])
    )
    assert ["setting", "Tetrominoes"] in document.lines
    assert "runs" not in document.ids


def test_without_rows_the_page_says_so():
    assert "There are no rows to show." in page([], load_spec())


EVIL = '</script><script>alert("1")</script>'


def test_names_cannot_break_out(tmp_path):
    item = external(method=EVIL, overrides={EVIL: "\"'><img src=http://x>"}, trained_on=EVIL)
    rng = np.random.default_rng(0)
    images, truth = scenes(1, 24, 2, rng)
    save_run(
        tmp_path / "runs/a/seed-0", item, predicted(images, truth, 3, rng), per_image(9, rng), trained=False
    )
    document = Document(made(tmp_path / "runs"))
    assert [tag for tag, _, _ in document.raw] == ["style", "script", "script"]
    assert document.data["runs"][0]["series"].startswith(EVIL)
    assert any(line[0] == EVIL for line in document.lines)
    assert all(link.startswith("data:") for link in document.loads)


def test_only_the_runs_behind_the_rows_are_shown(tmp_path):
    save_run(tmp_path / "a", record(0))
    save_run(tmp_path / "b", record(1, metrics={"test": scores(miou=0.99)}))
    save_run(tmp_path / "c", record(0))  # the same seed once more: the table counts the first
    spec = load_spec()
    all_rows = collect(spec, tmp_path, Selection()).measured
    best = collect(spec, tmp_path, Selection(1, "miou")).measured
    folders = [run.folder.name for run in runs_of(dataset_plans(all_rows, [], spec), spec)]
    assert folders == ["a", "b"]
    assert [run.folder.name for run in runs_of(dataset_plans(best, [], spec), spec)] == ["b"]


def test_provenance_names_everything(text):
    for told in ("objmae-config", "train-fingerprint", "tetrominoes-test-fingerprint", "1,506,916", "NVIDIA H200",
                 "2024-05-01T12:00:00+00:00", "2.13.0", "60 min", "1,024 MiB"):  # fmt: skip
        assert told in text
    assert "generated, version 1, seed 0" in text


@pytest.mark.parametrize(("name", "content"), [("samples.npz", b"PK damaged"), ("per_image.npz", b"PK damaged"),
                                               ("metrics.jsonl", b'{"step": 1\n'), ("metrics.jsonl", b"[1]\n")])  # fmt: skip
def test_damaged_files_are_named(tmp_path, name, content):
    rng = np.random.default_rng(0)
    images, truth = scenes(1, 24, 2, rng)
    save_run(tmp_path / "a", record(), predicted(images, truth, 3, rng), per_image(3, rng))
    (tmp_path / "a" / name).write_bytes(content)
    document = Document(made(tmp_path))
    assert "unread-h" in document.ids
    assert (document.data["curves"] == {}) == (name == "metrics.jsonl")
    assert (document.data["gallery"]["runs"] == []) == (name != "metrics.jsonl")


def test_a_run_scored_on_generated_data_is_known_by_its_origin(document):
    assert GENERATED["source"] == "generated"
    origins = {run["series"]: run["facets"]["origin"] for run in document.data["runs"]}
    assert origins["Colour k-means"] == ["1"]
    assert origins["objmae"] == ["0"]


def test_scores_on_a_second_set_are_shown_with_the_run(tmp_path):
    on = {"test": scored(), "clevrtex_ood": scored("clevrtex_ood")}
    save_run(tmp_path / "a", record(metrics={"test": scores(), "clevrtex_ood": scores()}, on=on))
    (run,) = shown_runs(tmp_path)
    assert run.evaluations == ("test", "clevrtex_ood")


def test_the_wheel_carries_templates_styles_and_scripts():
    assets = ROOT / "objbench/report/html/assets"
    here = {str(path.relative_to(ROOT)) for path in assets.iterdir()}
    built = {found.distribution_path for found in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert len(here) == 11
    assert here <= built
