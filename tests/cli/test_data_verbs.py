"""The verbs list, info, prepare, verify and show: what they print, where, and with which exit code."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import toy
from helpers.paths import FIXTURES
from PIL import Image
from typer.testing import CliRunner, Result

from objbench.cli.main import VERBS, app
from objbench.data.sources.base import SplitPlan
from objbench.records import Record


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    toy.register(monkeypatch)
    (tmp_path / "toy.yaml").write_text(toy.YAML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OBJBENCH_DATA", raising=False)
    monkeypatch.delenv("OBJBENCH_RUNS", raising=False)
    return tmp_path


def call(*line: str) -> Result:
    return CliRunner().invoke(app, [*line, "--config", "toy.yaml"])


@pytest.fixture
def prepared(home: Path) -> Path:
    assert call("prepare", "toy", "--workers", "1").exit_code == 0
    return home / "data/toy/toy"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom objbench.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'yaml', 'rich', 'PIL'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "heavy: []"
    assert all(f"  {verb} " in found.stdout for verb in VERBS)


def test_help_answers_in_half_a_second() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "objbench", "--help"], capture_output=True, check=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.5


def test_version() -> None:
    found = CliRunner().invoke(app, ["--version"])
    assert (found.exit_code, found.stdout) == (0, "objbench 0.1.0\n")


def test_nothing_asked_gives_the_help() -> None:
    found = CliRunner().invoke(app, [])
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["prepre", "toy"], "No such command 'prepre'. Did you mean 'prepare'"),
        (["prepare", "toy", "--trian", "3"], "No such option: --trian"),
        (["prepare", "toy", "--train", "many"], "Invalid value for '--train'"),
        (["prepare", "toy", "--train", "-1"], "--train -1: a split cannot have fewer than 0 scenes"),
        (["prepare", "toy", "--workers", "0"], "Invalid value for '--workers'"),
        (["prepare"], "Missing argument 'DATASET'"),
        (["prepare", "toi"], "unknown dataset 'toi': did you mean 'toy'?"),
        (["prepare", "toy@hard"], "unknown protocol of toy 'hard'"),
        (["prepare", "toy", "--source", "tox"], "unknown source of toy 'tox': did you mean 'toy'?"),
        (["prepare", "toy", "--config", "no.yaml"], "no.yaml: no such file"),
        (["verify", "toi"], "unknown dataset 'toi'"),
        (["list", "method"], "unknown listing 'method': did you mean 'methods'?"),
        (
            ["info", "colour_kmeans"],
            "unknown dataset or method 'colour_kmeans': did you mean 'color_kmeans'?",
        ),
        (["show", "toy", "--output", "a.jpg"], "--output a.jpg: the picture is a PNG"),
    ],
)
def test_a_wrong_request_is_one_plain_line_and_exit_code_2(home: Path, line: list[str], message: str) -> None:
    found = CliRunner().invoke(app, line if "--config" in line else [*line, "--config", "toy.yaml"])
    assert (found.exit_code, found.stdout) == (2, "")
    assert message in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert found.stderr.startswith("objbench: ")


def test_a_missing_verb_breaks_no_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "run", ("objbench.cli.nowhere:run", "Gone."))
    assert call("list", "datasets").exit_code == 0
    found = CliRunner().invoke(app, ["run"])
    assert isinstance(found.exception, ModuleNotFoundError)


def test_prepare_prints_the_splits(home: Path) -> None:
    found = call("prepare", "toy", "--workers", "1", "--val", "0")
    assert found.exit_code == 0
    lines = [line.split()[:4] for line in found.stdout.splitlines()]
    assert lines == [["train", "23", "scenes", "3"], ["test", "4", "scenes", "1"]]
    assert "data/toy/toy: prepared" in found.stderr
    again = call("prepare", "toy", "--val", "0")
    assert (again.exit_code, again.stdout) == (0, found.stdout)
    assert again.stderr == "data/toy/toy: already prepared\n"


def test_prepare_answers_programs(home: Path) -> None:
    found = call("prepare", "toy", "--workers", "1", "--json")
    assert json.loads(found.stdout) == json.loads((home / "data/toy/toy/manifest.json").read_text())


def test_a_dry_run_writes_nothing(home: Path) -> None:
    (home / "toy.h5").write_bytes(b"abc")
    found = call("prepare", "toy", "--dry-run", "--raw", "toy.h5", "--train", "5", "--data", "there")
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        "folder  there/toy/toy",
        "source  toy",
        "file    toy.h5  3 bytes",
        "split   train: 5 scenes, data [0, 5), not the standard split",
        "split   val: 3 scenes, data [0, 3)",
        "split   test: 4 scenes, data [0, 4)",
        "size    at most 0.1 MB",
    ]
    assert not (home / "there").exists()
    answer = json.loads(call("prepare", "toy", "--dry-run", "--train", "5", "--json").stdout)
    assert answer["splits"]["train"] == {
        "count": 5,
        "exact": True,
        "file": "data",
        "start": 0,
        "stop": 5,
        "standard": False,
    }


def test_other_settings_in_place_are_refused(prepared: Path) -> None:
    found = call("prepare", "toy", "--train", "5")
    assert found.exit_code == 2
    assert "sizes.train is not given there, 5 asked" in found.stderr
    assert call("prepare", "toy", "--train", "5", "--force", "--workers", "1").exit_code == 0


def test_ctrl_c_says_how_to_go_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: toy.ToySource, plans: list[SplitPlan], done: dict[str, int]) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(toy.ToySource, "read", stop)
    found = call("prepare", "toy", "--workers", "1")
    assert (found.exit_code, found.stdout) == (130, "")
    assert "data/toy/toy: stopped; the same command, without --force, goes on where it stood" in found.stderr
    assert "Traceback" not in found.stderr


def test_an_unexpected_error_shows_no_traceback_unless_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy.ToySource, "plan", lambda self: 1 / 0)
    found = call("prepare", "toy")
    assert found.exit_code == 1
    assert found.stderr.startswith("objbench: ZeroDivisionError: division by zero")
    assert "Traceback" not in found.stderr
    found = call("prepare", "toy", "--debug")
    assert found.exit_code == 1
    assert "Traceback" in found.stderr


def test_verify(home: Path) -> None:
    prepared = home / "data/toy/toy"
    call("prepare", "toy", "--workers", "1", "--val", "3")
    found = call("verify", "toy", "--deep")
    assert (found.exit_code, found.stdout) == (0, "")
    assert "30 scenes as the manifest says" in found.stderr
    (prepared / "val-000000.tar").unlink()
    (prepared / "test-000000.tar").write_bytes(b"")
    found = call("verify", "toy")
    assert found.exit_code == 1
    assert [line.split(":")[0] for line in found.stdout.splitlines()] == [
        "data/toy/toy/val-000000.tar",
        "data/toy/toy/test-000000.tar",
    ]
    assert "2 differences; objbench prepare toy --source toy --force makes it anew" in found.stderr
    assert len(json.loads(call("verify", "toy", "--json").stdout)["problems"]) == 2


def test_an_unprepared_dataset_is_a_failure(home: Path) -> None:
    found = call("verify", "toy")
    assert found.exit_code == 1
    assert "toy is not prepared in data/toy: objbench prepare toy --source toy" in found.stderr


def test_show_writes_a_picture_and_prints_its_path(prepared: Path) -> None:
    found = call("show", "toy", "--count", "3")
    assert (found.exit_code, found.stdout) == (0, "toy-toy-test.png\n")
    with Image.open("toy-toy-test.png") as sheet:
        assert sheet.format == "PNG"
    found = call("show", "toy", "--split", "val", "--output", "new/sheet.png", "--json")
    assert json.loads(found.stdout) == {"path": "new/sheet.png", "keys": ["00000000", "00000002", "00000004"]}
    assert Path("new/sheet.png").is_file()


def test_list_says_what_is_prepared(prepared: Path) -> None:
    entries = {entry["name"]: entry for entry in json.loads(call("list", "datasets", "--json").stdout)}
    assert (entries["toy"]["sources"], entries["toy"]["prepared"]) == (["toy"], ["toy"])
    assert entries["tetrominoes"]["prepared"] == []
    assert "toy" in call("list").stdout


@pytest.mark.parametrize("kind", ["datasets", "methods", "metrics", "runs"])
def test_every_listing_is_an_array_of_named_objects(home: Path, kind: str) -> None:
    entries = json.loads(call("list", kind, "--json").stdout)
    assert all(entry["name"] and entry["kind"] == kind.removesuffix("s") for entry in entries)
    assert bool(entries) == (kind != "runs")


def record() -> Record:
    return Record.model_validate(
        {
            "dataset": "toy",
            "protocol": "standard",
            "source": "toy",
            "fingerprint": "f",
            "n_train": 23,
            "method": "grid",
            "variant": None,
            "overrides": {},
            "seed": 0,
            "config_hash": "c",
            "code_version": "0",
            "torch_version": "2",
            "device": "cpu",
            "date": "2022-10-25",
            "steps": 7,
            "train_seconds": 1.0,
            "wall_seconds": 1.0,
            "images_per_second": None,
            "peak_memory_bytes": 0,
            "parameters": 0,
            "metrics": {"test": {"n_images": 4, "miou": {"mean": 0.25, "std": 0.1}}},
            "scored": {},
        }
    )


def test_runs_are_listed_and_damaged_records_left_out(home: Path) -> None:
    good, bad = home / "runs/toy/toy/grid/seed-0", home / "runs/toy/toy/grid/seed-1"
    for folder in (good, bad):
        folder.mkdir(parents=True)
    record().save(good)
    (bad / "result.json").write_text("{")
    found = call("list", "runs", "--json")
    assert [entry["name"] for entry in json.loads(found.stdout)] == ["toy/toy/grid/seed-0"]
    assert "left out: runs/toy/toy/grid/seed-1/result.json: damaged" in found.stderr
    assert call("list", "runs").stdout == "runs:\n  toy/toy/grid/seed-0  7 steps, miou 25.0%\n"


def test_the_card_of_a_dataset(prepared: Path) -> None:
    text = call("info", "toy").stdout
    for part in (
        "A random number generator",
        "Apache-2.0",
        "https://example.org/toy",
        "These are no scenes at all.",
        "Kabra",
        "in pixels",
    ):
        assert part in text
    card = json.loads(call("info", "toy", "--json").stdout)
    assert card["protocols"]["standard"]["prepared"]["toy"]["train"]["scenes"] == 23
    assert card["sources"]["toy"]["factors"] == {"size": "in pixels"}


def test_the_card_of_a_method(home: Path) -> None:
    card = json.loads(call("info", "color_kmeans", "--json").stdout)
    assert card["datasets"]["toy"]["recipe"]["batch_size"] == 64
    assert "initializations" in card["datasets"]["tetrominoes"]["model"]


def test_a_card_repeats_itself_rather_than_refer_to_itself(home: Path) -> None:
    text = call("info", "genesis_v2").stdout
    assert "&id" not in text
    assert text.count("decoder_channels: [64, 64, 64, 64]\n") == 4  # one per dataset


def test_a_prepare_that_failed_before_its_first_shard_is_no_obstacle(home: Path) -> None:
    mini = FIXTURES / "tetrominoes_deepmind/tetrominoes_mini.tfrecords"
    prepare = ["prepare", "tetrominoes", "--source", "deepmind", "--raw", str(mini)]
    failed = call(*prepare)
    assert failed.exit_code == 1
    assert "holds 10 records" in failed.stderr
    assert call(*prepare, "--train", "6", "--val", "2", "--test", "2").exit_code == 0


def test_damaged_scenes_are_left_out_only_when_asked(home: Path) -> None:
    mini = FIXTURES / "tetrominoes_deepmind/tetrominoes_mini.tfrecords"
    content = bytearray(gzip.decompress(mini.read_bytes()))
    content[3 * 25960 + 500] ^= 1
    (home / "damaged.tfrecords").write_bytes(content)
    prepare = ["prepare", "tetrominoes", "--source", "deepmind", "--raw", "damaged.tfrecords"]
    sizes = ["--train", "6", "--val", "2", "--test", "2"]
    failed = call(*prepare, *sizes)
    reason = "the record's checksum is wrong: the file is damaged"
    assert failed.exit_code == 1
    assert (
        f"damaged.tfrecords: record 3 (byte 77880 of the unpacked file): {reason}; --skip-bad"
        in failed.stderr
    )
    done = call(*prepare, *sizes, "--skip-bad")
    assert done.exit_code == 0, done.stderr
    assert "train  5 scenes" in done.stdout
    assert f"train: left out the damaged scene 3: {reason}" in done.stderr
    assert "the damaged scene 3 was left out" in call("verify", "tetrominoes").stderr
    card = json.loads(call("info", "tetrominoes", "--json").stdout)
    train = card["protocols"]["standard"]["prepared"]["deepmind"]["train"]
    assert train["skipped"] == {"3": reason}
    assert train["objects"] == {"3": 5}


def test_info_explains_the_protocols_of_clevr6(home: Path) -> None:
    protocols = json.loads(call("info", "clevr6", "--json").stdout)["protocols"]
    assert list(protocols) == [
        "standard", "paper", "first70k", "at_most_five", "visible_after_crop", "emorl192"
    ]  # fmt: skip
    standard = protocols["standard"]
    assert standard["select"] == {"deepmind": {"max_objects": 6}}
    assert standard["transform"] == {"crop": [64, 29, 256, 221], "image": "bicubic", "mask": "nearest"}
    assert standard["splits"]["deepmind"] == {
        "train": "about 49,360 scenes: all but the last 640 qualifying records among 0 to 99,999 of data",
        "test": "the 320 before the last 320 qualifying records among 0 to 99,999 of data",
        "val": "the last 320 qualifying records among 0 to 99,999 of data",
    }
    assert protocols["first70k"]["splits"]["deepmind"]["test"] == (
        "the first 320 qualifying records among 70,000 to 99,999 of data"
    )
    assert protocols["paper"]["splits"]["emorl"]["val"] == "the last 320 records of train, also in train"
    assert protocols["emorl192"]["size"] == "192x192"
    assert all(protocol["used_by"] for protocol in protocols.values())
