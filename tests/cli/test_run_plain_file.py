"""Commands on a method from a plain file: run, resume, change, loss of the file, and everything after a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import plain
from helpers.commands import call, refused
from PIL import Image

import objbench
from objbench.records import read_record
from objbench.use.finished import open_run

PLACE = Path("runs/tetrominoes/generated/mine.Mine/seed-0")
RUN = ("run", "./mine.py:Mine", "--dataset", "tetrominoes")


@pytest.fixture(autouse=True)
def home(tmp_path, prepared_data, monkeypatch):
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))
    monkeypatch.setenv("OBJBENCH_RUNS", "runs")
    monkeypatch.chdir(tmp_path)
    plain.write(tmp_path)


def done(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result


def test_a_run_keeps_the_file_and_says_where_its_method_is_from():
    assert "mine.Mine seed 0 on test (10 images)" in done(*RUN).stdout
    assert (PLACE / "method.py").read_text() == plain.TEXT
    record, config = read_record(PLACE), json.loads((PLACE / "config.json").read_text())
    assert record.method == config["method"] == "mine.Mine"
    assert record.implementation == config["implementation"]
    assert record.implementation.startswith("mine.py@")
    assert "finished before" in done(*RUN).stderr
    assert "implementation" not in done("run", "grid", "--dataset", "tetrominoes", "--json").stdout


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_file_is_another_configuration(tmp_path, finished):
    done(*RUN)
    if not finished:
        (PLACE / "result.json").unlink()
    plain.write(tmp_path, text=plain.TEXT + "# changed\n")
    message = refused(2, *RUN)
    assert f"{PLACE} holds a run of another version of this method: mine.py has changed" in message
    assert f"{PLACE / 'method.py'} is that version, --fresh deletes that run" in message
    assert (PLACE / "method.py").read_text() == plain.TEXT
    done(*RUN, "--fresh")
    assert (PLACE / "method.py").read_text().endswith("# changed\n")


def test_versions_of_a_file_are_rows_of_their_own(tmp_path):
    done(*RUN)
    plain.write(tmp_path, text=plain.TEXT + "# changed\n")
    done(*RUN, "--seed", 1)
    table = done("report", "--dataset", "tetrominoes").stdout
    assert sum(line.startswith("mine.Mine") for line in table.splitlines()) == 2
    hashes = [read_record(PLACE.with_name(f"seed-{seed}")).config_hash[:12] for seed in (0, 1)]
    assert all(f"configuration {config_hash}" in table for config_hash in hashes)


def test_a_file_that_is_gone_is_replaced_by_the_copy(tmp_path):
    done(*RUN)
    weights = (PLACE / "model.safetensors").read_bytes()
    (PLACE / "result.json").unlink()
    (tmp_path / "mine.py").unlink()
    result = done(*RUN)
    assert (
        f"mine.py is not there any more; its copy {tmp_path / PLACE / 'method.py'} is used" in result.stderr
    )
    assert (PLACE / "model.safetensors").read_bytes() == weights
    assert "no such file" in refused(2, "run", "other.py:Mine", "--dataset", "tetrominoes")


def test_everything_after_a_run_uses_the_copy(tmp_path):
    done(*RUN)
    plain.write(tmp_path, text="raise RuntimeError\n")
    Image.new("RGB", (50, 40), (200, 10, 10)).save("photo.png")
    done("segment", PLACE, "photo.png", "--output", "found")
    with Image.open("found/photo.png") as labels:
        assert labels.size == (50, 40)
    done("evaluate", PLACE, "--dataset", "tetrominoes@aligned")
    assert "tetrominoes@aligned/generated" in read_record(PLACE).metrics
    assert "mine.Mine/seed-0" in done("list", "runs").stdout
    published = [Path(line).name for line in done("publish", PLACE, "--output", "out").stdout.splitlines()]
    assert published == [
        "README.md",
        "model.safetensors",
        "config.json",
        "method.py",
        "example.py",
        "result.json",
    ]
    assert "objbench executes it from `method.py`, a part of this folder" in Path("out/README.md").read_text()
    opened = open_run("out")
    assert (opened.block.title, opened.block.summary) == ("Mine", "Learns one colour for all")
    assert done("publish", "out", "--output", "again").exit_code == 0


def test_a_missing_copy_is_told_and_put_back(tmp_path):
    done(*RUN)
    (PLACE / "method.py").unlink()
    assert "method.py: missing, the copy of mine.py" in refused(1, "publish", PLACE, "--output", "out")
    done(*RUN)
    assert (PLACE / "method.py").read_text() == plain.TEXT


@pytest.mark.parametrize("launcher", [(), ("--launcher", "local", "--workers", "1")])
def test_an_error_names_the_file_and_the_line(tmp_path, launcher):
    path = plain.write(tmp_path, text=plain.TYPO)
    result = call(*RUN, *launcher)
    assert result.exit_code == 1
    assert (
        f"AttributeError: 'Mine' object has no attribute 'imagez' (unexpected, at {path}:{plain.TYPO_LINE};"
        in (result.stderr)
    )


def test_workers_run_what_the_command_read_and_know_the_data(tmp_path):
    line = (*RUN, "--seeds", 2, "--launcher", "local", "--workers", 2, "--part", "2/2")
    assert "mine.Mine seed 1 on test" in done(*line).stdout
    assert not PLACE.exists()


def test_a_process_of_its_own_runs_a_file_beside_which_it_stands(tmp_path):
    command = [sys.executable, "-m", "objbench", *map(str, RUN), "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(objbench.__file__).parent.parent)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)[0]["method"] == "mine.Mine"


def test_nothing_is_started_where_the_file_is_wrong(tmp_path):
    plain.write(tmp_path, "broken.py", "x = (\n")
    message = refused(2, "run", "grid", "./broken.py:Mine", "--dataset", "tetrominoes")
    assert "broken.py:1: SyntaxError" in message
    assert "needs either steps or epochs" in refused(2, *RUN, "--set", "recipe.steps=null")
    assert not Path("runs").exists()


def test_a_class_with_an_empty_docstring_is_described_by_its_file():
    text = Path("mine.py").read_text()
    Path("mine.py").write_text(text.replace('"""Learns one colour for all."""', '""" """'))
    assert "The class Mine of" in done("info", "./mine.py").stdout


def test_info_of_a_file():
    text = done("info", "./mine.py").stdout
    assert text.startswith("mine.Mine: Mine\nLearns one colour for all\n")
    assert "objbench info ./mine.py --full" in text
    settings = json.loads(done("info", "./mine.py:Mine", "--json").stdout)["settings"]
    assert (settings["learning_rate"]["default"], settings["recipe.steps"]["default"]) == (0.05, 4)


def test_a_block_of_ones_own_changes_the_defaults_in_every_command():
    block = "{config: {learning_rate: 0.2}, datasets: {tetrominoes: {learning_rate: 0.3}}, "
    block += "variants: {fast: {description: f, config: {learning_rate: 0.4}}}}"
    Path("mine.yaml").write_text(f"methods: {{mine.Mine: {block}}}\n")
    own = ("--config", "mine.yaml")
    assert "mine.Mine seed 0 on test (10 images)" in done(*RUN, *own).stdout
    assert json.loads((PLACE / "config.json").read_text())["config"]["learning_rate"] == 0.3
    done("run", "./mine.py:Mine:fast", "--dataset", "tetrominoes", *own)
    done("info", "./mine.py", *own)
    assert "mine.Mine" not in done("list", "methods", *own).stdout
    done("evaluate", PLACE, "--dataset", "tetrominoes", *own)
    assert "mine.Mine" in done("report", *own).stdout
    done("publish", PLACE, "--output", "model", *own)
    assert "Learns one colour for all" in Path("model/README.md").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("slot_attention.demo", "unknown method 'slot_attention.demo': did you mean 'slot_attention'? Known: slot_attention; a variant"),
        ("mine.Mina", "unknown method 'mine.Mina': did you mean 'mine.Mine'?"),
    ],
)  # fmt: skip
def test_a_block_that_is_of_no_method_is_refused(name, message):
    Path("mine.yaml").write_text(f"methods: {{{name}: {{config: {{learning_rate: 0.2}}}}}}\n")
    assert message in refused(2, *RUN, "--config", "mine.yaml")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("return Losses(", "import sys; sys.exit(0)\n        return Losses(", "sys.exit(0) was called (at "),
        ("return Segmentation(", "raise SystemExit\n        return Segmentation(", "sys.exit(None) was called (at "),
        ("super().__init__(image_shape, slots, settings)", "torch.nn.Module.__init__(self)",
         "Mine.__init__ does not call super().__init__(image_shape, slots, settings)\n"),
        ("super().__init__(image_shape, slots, settings)", "pass",
         "Mine.__init__ does not call super().__init__(image_shape, slots, settings) before it makes anything (at "),
        ("def optimizers", "def stages(self):\n        exit(0)\n\n    def optimizers", "sys.exit(0) was called (at "),
        ("def optimizers", "def stages(self):\n        return ['train']\n\n    def optimizers",
         "Mine.stages gave a str: expected a list of Stage(...)"),
        ("def optimizers", "def setup(self, images, stage):\n        self.late = torch.nn.Parameter(images[0])\n\n    def optimizers",
         "Mine registers 'late' in setup or later: make it in __init__"),
        ("[(torch.optim.Adam(self.parameters(), rate), lambda progress: rate)]", "[]",
         "Mine.optimizers gave no parameter for the stage 'train'"),
        ("lambda progress: rate", "lambda progress: None", "Mine.optimizers gave Adam a learning rate of None at step 0 of"),
        ("square().mean())", "square().mean().detach())", "Mine.training_loss gave a total that depends on no parameter"),
        ("square().mean())", "square().mean(), {'total': self.color.sum()})", "gave a part of the name 'total'"),
        ("def segment(self, images, progress=None)", "def segment(self, images)",
         "Mine.segment is called with (images, progress), which it does not take"),
        ("return Segmentation(", "return Segmentation(masks=images[:, 0].numpy())\n        return Segmentation(", "Mine.segment gave masks of type ndarray"),
        ("return Segmentation(", "return Segmentation()\n        return Segmentation(", "Mine.segment gave a Segmentation with neither masks nor labels"),
    ],
)  # fmt: skip
def test_a_method_that_breaks_the_contract_fails_in_words(tmp_path, before, after, message):
    assert before in plain.TEXT
    plain.write(tmp_path, text=plain.TEXT.replace(before, after))
    result = call(*RUN)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "unexpected" not in result.stderr
    if "sys.exit" in message:
        assert str(tmp_path / "mine.py") in result.stderr


def test_a_method_that_ends_the_program_ends_its_run_alone(tmp_path):
    exits = plain.TEXT.replace("return Losses(", "import sys; sys.exit(0)\n        return Losses(")
    plain.write(tmp_path, text=exits)
    plain.write(tmp_path, "other.py", plain.TEXT.replace("Mine", "Other"))
    both = call("run", "./mine.py", "./other.py", "--dataset", "tetrominoes")
    assert both.exit_code == 1
    assert "1 of 2 runs failed" in both.stderr
    assert "other.Other seed 0 on test (10 images)" in both.stdout


@pytest.mark.parametrize("launcher", [(), ("--launcher", "local", "--workers", "2")])
def test_json_is_all_of_stdout_whatever_a_method_prints(tmp_path, launcher):
    noisy = plain.TEXT.replace("        return Seg", '        print("noise of a hook")\n        return Seg')
    plain.write(tmp_path, text=f'{noisy}\nprint("noise of the file")\n')
    result = done(*RUN, "--seeds", "2", *launcher, "--json")
    assert len(json.loads(result.stdout)) == 2
    if not launcher:  # with one, the runs have logs of their own
        assert "noise of a hook" in result.stderr
    assert json.loads(done("info", "./mine.py:Mine", "--json").stdout)["name"] == "mine.Mine"
    assert json.loads(done("evaluate", PLACE, "--dataset", "tetrominoes", "--json").stdout)["key"] == "test"
    assert "noise of a hook" in done(*RUN, "--seeds", "2", "--fresh").stdout  # as it is, where stdout is text


def test_a_report_in_json_is_on_stdout():
    done(*RUN)
    assert json.loads(done("report", "--json", "--dataset", "tetrominoes").stdout)
