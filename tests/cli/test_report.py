from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers import commands
from helpers.figure_runs import pdf_text, run_on
from helpers.synthetic import generated, record, save, scores

from objbench.report.figures import PAPER_FIGURES
from objbench.report.tables.hyperparameters import HYPERPARAMETER_TABLES
from objbench.report.tables.paper import PAPER_TABLES
from objbench.scores import Scores
from objbench.train.artifacts import write_per_image


@pytest.fixture
def runs(tmp_path):
    """objmae and color_kmeans on the release, two seeds and one."""
    save(tmp_path / "runs", record(0), record(1), record(method="color_kmeans"))
    return tmp_path / "runs"


def call(*arguments):
    return commands.call("report", *arguments)


def test_without_arguments_every_dataset_with_records_is_shown(runs):
    result = call()
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "Tetrominoes"
    assert re.search(r"^objmae +emorl +2 +59,680 +90.0 ± 0.0 ", result.stdout, re.MULTILINE)
    assert "Colour k-means (trivial)" in result.stdout
    assert "99.2 ± 0.4" in result.stdout  # IODINE, published
    assert result.stderr == ""


def test_without_records_the_user_is_told_and_published_numbers_are_shown(tmp_path):
    result = call("--runs", tmp_path / "none", "--dataset", "clevrtex")
    assert result.exit_code == 0
    assert "66.62 ± 0.80" in result.stdout
    assert f"no records for this under {tmp_path}/none; all numbers shown are published ones" in result.stderr


def test_without_records_and_request_there_is_a_hint(tmp_path):
    result = call("--runs", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no records under" in result.stderr
    assert "--dataset or --table" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("form", ["markdown", "json", "html"])
def test_without_records_no_empty_file_is_written(tmp_path, form):
    output = tmp_path / "out"
    result = call("--runs", tmp_path / "none", "--format", form, "--output", output)
    assert result.exit_code == 1
    assert not output.exists()


def test_json_flag_and_format_say_the_same(runs):
    by_flag, by_format = call("--json"), call("--format", "json")
    assert by_flag.stdout == by_format.stdout
    rows = json.loads(by_flag.stdout)
    assert [row["name"] for row in rows[:2]] == ["objmae", "color_kmeans"]
    assert call("--json", "--format", "csv").exit_code == 2


def test_output_goes_to_a_file(runs, tmp_path):
    result = call("--format", "markdown", "--output", tmp_path / "table.md")
    assert result.stdout == ""
    assert (tmp_path / "table.md").read_text(encoding="utf-8").startswith("### Tetrominoes\n")


def test_a_definition_is_chosen(runs):
    assert json.loads(call("--definition", "clevrtex", "--json").stdout) == json.loads(call("--json").stdout)
    rows = json.loads(call("--dataset", "tetrominoes", "--definition", "deepmind", "--json").stdout)
    assert {row["kind"] for row in rows} == {"published"}
    assert call("--definition", "deepmid").exit_code == 2


def test_all_seeds(runs):
    assert "seed 1" in call("--all-seeds").stdout
    assert "seed 1" not in call().stdout


@pytest.mark.parametrize(("options", "threshold"), [((), 0.5), (("--success", "ari_fg:0.7"), 0.7)])
def test_the_figure_of_failed_seeds_goes_by_the_stated_threshold_or_its_own(tmp_path, options, threshold):
    for seed, ari_fg in enumerate((0.6, 0.4, 0.9)):
        run_on(tmp_path / "runs", "clevrtex", seed=seed, metrics={"test": scores(ari_fg=ari_fg)})
    result = call("--figure", "12", *options, "--output", tmp_path / "failed.pdf")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"objbench: wrote {tmp_path}/failed.pdf\n"
    text = pdf_text(tmp_path / "failed.pdf")
    assert f"A seed failed that did not reach ARI-FG > {100 * threshold:g} %" in text
    assert ("seed 0" in text, "seed 1" in text, "seed 2" in text) == (threshold == 0.7, True, False)


@pytest.mark.parametrize("number", "123456")
def test_every_table_of_the_paper(runs, number):
    result = call("--table", number)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Table {number}: ")


@pytest.mark.parametrize("number", "789")
@pytest.mark.parametrize("format", ["terminal", "markdown", "latex", "csv", "json", "html"])
def test_tables_of_hyper_parameters_need_no_record(tmp_path, number, format):
    result = call("--table", number, "--format", format, "--runs", tmp_path / "none")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "multi" in result.stdout.lower()
    assert {"7": "mlp", "8": "weight", "9": "ramp"}[number] in result.stdout


def test_a_table_that_is_not_there_is_refused(runs):
    result = call("--table", "10")
    assert result.exit_code == 2
    assert result.stderr == "objbench: --table 10: there are tables 1, 2, 3, 4, 5, 6, 7, 8, 9\n"


def test_latex(runs):
    printed = call("--format", "latex").stdout
    assert printed.startswith("% needs \\usepackage{booktabs}")
    assert r"\cite{greff2019}" in printed


def test_a_success_rate_is_added(tmp_path):
    save(tmp_path / "runs", *(record(s, metrics={"test": scores(ari_fg=s / 4)}) for s in range(5)))
    result = call("--success", "ari_fg:0.5")
    assert result.stdout.splitlines()[2].endswith("ARI-FG > 50 %")
    assert "2/5 [12, 77]" in result.stdout


def two_with_values(runs):
    """objmae and monet with scores of 20 images each."""
    rng = np.random.default_rng(0)
    for method in ("objmae", "monet"):
        values = {name: rng.random(20) for name in ("ari", "mbo")}
        folder = runs / method / "seed-0"
        folder.mkdir(parents=True)
        means = {name: {"mean": float(of_images.mean()), "std": 0.3} for name, of_images in values.items()}
        record(0, method, metrics={"test": Scores(n_images=20, **means)}).save(folder)
        write_per_image(folder, {"test": values | {"keys": np.arange(20).astype(str)}})


def test_two_methods_are_compared_by_chosen_metrics(tmp_path):
    two_with_values(tmp_path / "runs")
    compare = ("--compare", "objmae", "--compare", "monet")
    assert [line["metric"] for line in json.loads(call(*compare, "--json").stdout)] == ["ari"]
    result = call(*compare, "--metrics", "mbo,ari,dice", "--json")
    assert [line["metric"] for line in json.loads(result.stdout)] == ["mbo", "ari"]
    assert (
        "not compared: tetrominoes: monet (emorl) against objmae (emorl): dice: neither has it"
        in result.stderr
    )
    refused = call(*compare, "--metrics", "dice,hours")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "objmae and monet cannot be compared:" in refused.stderr
    assert "hours: it is no score of images" in refused.stderr


def test_two_methods_are_compared(tmp_path):
    two_with_values(tmp_path / "runs")
    result = call("--compare", "objmae", "--compare", "monet", "--dataset", "tetrominoes")
    assert result.exit_code == 0
    assert result.stdout.startswith("Tetrominoes, emorl, test: objmae (1 seed) against MONet (1 seed)\n")
    (line,) = json.loads(call("--compare", "objmae", "--compare", "monet", "--json").stdout)
    assert line["low"] < line["difference"] < line["high"]
    assert "objmae (1 seed)" in call("--compare", "objmae", "--compare", "monet", "--format", "html").stdout
    refused = call("--compare", "objmae", "--compare", "monet", "--dataset", "clevr6")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "unknown method with records 'objmae'" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--select", "top:3:hours"], "hours is a cost, which tells of a device rather than of a method"),
        (["--dataset", "tetrominos"], "unknown dataset 'tetrominos': did you mean 'tetrominoes'?"),
        (
            ["--dataset", "tetrominoes@alined"],
            "unknown protocol of tetrominoes 'alined': did you mean 'aligned'?",
        ),
        (["--select", "top:3:mio"], "unknown metric 'mio': did you mean 'miou'?"),
        (["--select", "best"], "--select best: expected all or top:N:METRIC"),
        (["--format", "markdwn"], "unknown format 'markdwn': did you mean 'markdown'?"),
        (["--figure", "3"], "--figure 3: name the picture with --output, such as --output fig.png"),
        (["--figure", "3", "--table", "3"], "--table and --figure exclude each other"),
        (["--method", "objmae"], "--method is only for --figure"),
        (
            ["--figure", "3", "--output", "a.png", "--json"],
            "--json is not for --figure 3, which is a picture",
        ),
        (["--compare", "objmae"], "--compare is given twice, once for each method; found 1"),
        (["--compare", "a", "--compare", "b", "--all-seeds"], "--all-seeds is not for --compare"),
        (["--table", "1", "--metrics", "ari"], "--metrics is not for --table 1"),
        (["--figure", "3", "--output", "a.png", "--metrics", "ari"], "--metrics is not for --figure"),
        (["--table", "7", "--success", "ari:0.5"], "--success is not for --table 7"),
        (["--success", "ari:50"], "--success ari:50: ari is a fraction, so is its threshold"),
        (
            ["--success", "ari:0.5", "--select", "top:1:ari"],
            "--success counts all seeds, --select leaves some out",
        ),
    ],
)
def test_wrong_requests_are_refused(runs, arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_damaged_records_are_named_and_skipped(runs):
    broken = runs / "broken" / "result.json"
    broken.parent.mkdir()
    broken.write_text('{"version": 1, "meth')
    result = call()
    assert result.exit_code == 0
    assert f"objbench: skipped {broken}: damaged" in result.stderr
    assert "objmae" in result.stdout


def test_strict_refuses_generated_beside_upstream_and_names_the_rows(tmp_path):
    save(tmp_path / "runs", record(), generated(method="color_kmeans"))
    result = call("--strict")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "color_kmeans (generated) against objmae (emorl): source generated is not emorl" in result.stderr
    assert "iodine (greff2019) against objmae (emorl): protocol 'not stated'" in result.stderr


@pytest.mark.usefixtures("runs")
def test_published_numbers_can_be_left_out():
    refused = call("--strict", "--dataset", "tetrominoes")
    assert refused.exit_code == 1
    assert "--no-published leaves published numbers out" in refused.stderr
    alone = call("--strict", "--dataset", "tetrominoes", "--no-published")
    assert alone.exit_code == 0
    assert "[greff2019]" not in alone.stdout
    assert (
        "--no-published is not for --figure"
        in call("--figure", "3", "--output", "a.png", "--no-published").stderr
    )


def test_strict_passes_a_table_of_one_protocol():
    result = call("--strict", "--table", "6")
    assert result.exit_code == 0
    assert "78.6 ± 23.3" in result.stdout


def test_selection_is_labelled(tmp_path):
    save(tmp_path / "runs", *(record(seed, metrics={"test": scores(miou=seed / 10)}) for seed in range(4)))
    result = call("--select", "top:2:miou")
    assert "best 2 of 4 seeds by mIoU on the test split of Tetrominoes" in result.stdout
    assert "25.0 ± 7.1" in result.stdout


def test_a_narrow_terminal_folds_but_loses_nothing(runs):
    master, slave = pty.openpty()
    output = bytearray()

    def read():
        try:
            while data := os.read(master, 4096):
                output.extend(data)
        except OSError:  # Linux reports the end of a terminal so
            pass

    reader = threading.Thread(target=read)
    reader.start()
    environment = os.environ | {"COLUMNS": "70", "TERM": "xterm", "OBJBENCH_RUNS": str(runs)}
    process = subprocess.run(
        [sys.executable, "-m", "objbench", "report"], stdout=slave, env=environment, check=True, timeout=60
    )
    os.close(slave)
    reader.join(timeout=10)
    os.close(master)
    shown = output.decode()
    assert process.returncode == 0
    assert "…" not in shown
    assert "\x1b[" in shown  # styled
    assert "Colour k-means" in shown
    assert "vikstrom2022" in shown


def test_no_torch_is_imported(runs):
    code = (
        "import sys; from objbench.cli.main import app\n"
        "try: app(['report'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    environment = os.environ | {"OBJBENCH_RUNS": str(runs)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    first, *_, last = found.stdout.splitlines()
    assert (first, last) == ("Tetrominoes", "False")


def test_the_help_names_the_tables_the_figures_and_the_definitions_that_there_are():
    words = " ".join(call("--help").stdout.split())
    results, settings, figures = list(PAPER_TABLES), list(HYPERPARAMETER_TABLES), list(PAPER_FIGURES)
    assert f"{results[0]} to {results[-1]} (results) or {settings[0]} to {settings[-1]} (hyper" in words
    assert f"figure of the paper, {figures[0]} to {figures[-1]}," in words
    assert "definition of the metrics: clevrtex, deepmind or emorl" in words


def test_each_mark_stands_once_in_json(runs):
    rows = json.loads(call("--json").stdout)
    assert any(row["marks"] for row in rows)
    assert all(len(row["marks"]) == len(set(row["marks"])) for row in rows)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--output", "new/a.md", "--format", "markdown"),
        ("--output", "new/a.html", "--format", "html"),
        ("--output", "new/a.bib", "--bibtex"),
        ("--output", "new/a.png", "--figure", 7),
        ("--output", "new/a", "--figure", 7),
        ("--output", "new/a.csv", "--table", 7, "--format", "csv"),
        ("--output", "new/a.txt", "--compare", "objmae", "--compare", "color_kmeans"),
    ],
)
def test_the_folder_of_a_file_has_to_be_there(runs, arguments, monkeypatch):
    monkeypatch.chdir(runs.parent)
    message = commands.refused(2, "report", *arguments)
    assert "the folder new does not exist; make it first" in message
    assert message.count("\n") == 1
    assert not Path("new").exists()
    assert "--output runs: a folder, expected the name of a file" in commands.refused(
        2, "report", "--output", "runs"
    )
