"""The docs hold what tools/tables writes, and that is what code, counted costs and records say."""

from __future__ import annotations

import difflib
import json
import shutil
from pathlib import Path

import docs_tables
import pytest
from docs_tables import DOCS, number, pages, rows_of, trained, with_table
from helpers.paths import ROOT

from objbench.records import read_record

PAGE = "# T\n\n| a | b |\n|---|---|\n| x | 1 |\n| y | 2 |\n\ntext\n\n| c | d |\n|---|---|\n| z | 3 |\n"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    for name in ("baselines.md", "miniatures.md"):
        shutil.copy(DOCS / name, tmp_path / name)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_the_docs_are_what_the_tool_writes():
    for path, text in pages().items():
        changed = difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), lineterm="", n=0)
        assert not [*changed], f"{path.name}: run tools/tables"


def test_numbers_that_are_not_true_are_mended_and_words_stay(docs):
    before = {path: path.read_text() for path in pages(docs)}
    change(docs / "baselines.md", "| 890,308 | 890,308 |", "| 890,308 | 890,309 |")
    kept = ROOT / "results/miniature/demos/tetrominoes@aligned/generated/iodine-demo/seed-1"
    record = json.loads((kept / "result.json").read_text())
    score = f"[{100 * record['metrics']['test']['ari_fg']['mean']:.1f}](../{kept.relative_to(ROOT)}"
    assert score.startswith("[74.2](")
    change(docs / "miniatures.md", score, score.replace("74.2", "99.9"))
    assert pages(docs) == before


def test_a_table_is_found_by_its_first_column_and_written_with_its_own_columns():
    assert rows_of(PAGE, "a") == [{"a": "x", "b": "1"}, {"a": "y", "b": "2"}]
    assert rows_of(PAGE, "c") == [{"c": "z", "d": "3"}]
    written = with_table(PAGE, "a", [{"b": "5", "other": "-", "a": "w"}])
    assert written == PAGE.replace("| x | 1 |\n| y | 2 |", "| w | 5 |")
    with pytest.raises(ValueError, match="2 tables begin with 'a'"):
        rows_of(PAGE + PAGE, "a")
    assert with_table(PAGE, "c", [{"c": "z", "d": "4"}]) == PAGE.replace("| z | 3 |", "| z | 4 |")


@pytest.mark.parametrize(
    ("value", "text"), [(0.4349, "0.43"), (1.96, "2.0"), (9.96, "10"), (99.6, "100"), (1369.2, "1,369")]
)
def test_numbers_have_two_digits(value, text):
    assert number(value) == text


def test_a_method_without_a_row_is_refused(docs):
    text = (docs / "baselines.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| `grid` |"))
    change(docs / "baselines.md", row + "\n", "")
    with pytest.raises(ValueError, match=r"begins with 'method': .* grid; add or remove the rows"):
        pages(docs)


def test_presets_of_other_counts_do_not_share_a_row(docs, monkeypatch):
    counts = {"monet": 1, "monet:clevrtex": 2}
    monkeypatch.setattr(docs_tables, "parameters", lambda name, _: counts[name])
    with pytest.raises(ValueError, match="stand in one row but have other counts"):
        docs_tables._count("`monet`, `:clevrtex`")


def test_a_row_of_a_miniature_is_its_records():
    kept = "results/miniature/demos/clevr_small/generated/space-demo"
    folders = [ROOT / kept / f"seed-{seed}" for seed in range(3)]
    raw = [json.loads((folder / "result.json").read_text()) for folder in folders]
    scores = [content["metrics"]["test"] for content in raw]
    fg = [values["ari_fg"]["mean"] for values in scores]
    grid = read_record(ROOT / "results/miniature/demos/clevr_small/generated/grid/seed-0").metrics["test"]
    assert sum(value > grid.values["ari_fg"].mean + 0.1 for value in fg) == 1
    assert trained([(folder, read_record(folder)) for folder in folders]) == {
        "preset": "`space:demo`",
        "scenes": "`clevr_small`",
        "parameters": f"{raw[0]['parameters']:,}",
        "steps": f"{raw[0]['steps']:,}",
        "minutes": f"{min(content['train_seconds'] for content in raw) / 60:.1f}",
        "succeed": "1 of 3",
        "ARI-FG of each seed": ", ".join(
            f"[{value * 100:.1f}](../{kept}/seed-{seed}/samples.png)" for seed, value in enumerate(fg)
        ),
        "ARI": f"{sum(values['ari']['mean'] for values in scores) / 3 * 100:.1f}",
        "mIoU": f"{sum(values['miou']['mean'] for values in scores) / 3 * 100:.1f}",
        "boxes": f"{sum(values['n_boxes']['mean'] for values in scores) / 3:.1f}",
    }
