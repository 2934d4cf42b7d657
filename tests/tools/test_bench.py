"""tools/bench: fair turns, checks that can fail, and a table and JSON that hold every repeat."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from types import SimpleNamespace

import pytest
import torch
from benches import command
from benches.metrics import max_difference
from benches.metrics_rivals import naive_torch, scikit_learn_loop, torchmetrics_loop
from benches.process import host_synchronisations, in_fresh_process, memory_is_measurable, peak_growth
from benches.report import Check, Report, Row, Section, print_report
from benches.scenes import label_maps
from benches.timing import Candidate, Clock, interleave
from helpers.paths import TOOLS

from objbench.metrics import score

REPEATS = 2
CANDIDATES = {
    "objbench, batch 1",
    "objbench, batch 4",
    "naive torch (ARI, ARI-FG, mIoU), batch 1",
    "naive torch (ARI, ARI-FG, mIoU), batch 4",
    "torchmetrics loop (ARI only)",
    "scikit-learn + scipy loop",
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What a small `tools/bench metrics` prints and writes."""
    path = tmp_path_factory.mktemp("bench") / "new" / "metrics.json"
    options = ["--quick", "--images", "4", "--repeats", str(REPEATS), "--threads", "1", "--json", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "benches", "metrics", *options, "--device", "cpu"],
        env=os.environ | {"PYTHONPATH": str(TOOLS)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stderr
    return done.stdout, json.loads(path.read_text())


def rows(content, section):
    return {row["name"]: row for row in content["sections"][section]["rows"]}


def test_metrics_times_every_candidate_in_every_repeat(measured):
    _, content = measured
    assert rows(content, 0).keys() == CANDIDATES
    assert rows(content, 1).keys() == {"objbench.labels.hard_labels", "torch.argmax over planes"}
    assert len(rows(content, 2)) == 4
    for section in content["sections"][:3]:
        for row in section["rows"]:
            timing = row["timing"]
            assert len(row["samples"]) == len(timing["seconds"]) == len(timing["cpu_seconds"]) == REPEATS
            for number in [*row["samples"], *timing["seconds"], *timing["cpu_seconds"], row["median"]]:
                assert number > 0
                assert math.isfinite(number)


def test_metrics_converts_times_and_ratios(measured):
    _, content = measured
    ours, loop = rows(content, 0)["objbench, batch 4"], rows(content, 0)["scikit-learn + scipy loop"]
    assert loop["speedup"] is None
    assert ours["samples"] == pytest.approx([1000 * s / 4 for s in ours["timing"]["seconds"]])
    ratios = [b / a for a, b in zip(ours["samples"], loop["samples"], strict=True)]
    assert ours["speedup"]["samples"] == pytest.approx(ratios)
    assert ours["speedup"]["against"] == "scikit-learn + scipy loop"
    per_second = rows(content, 2)["clevrtex 128x128, K=11"]
    assert per_second["samples"] == pytest.approx([4 / s for s in per_second["timing"]["seconds"]])


def test_metrics_agrees_with_scikit_learn(measured):
    _, content = measured
    assert content["passed"]
    (largest,) = content["sections"][0]["checks"]
    assert largest["value"] <= largest["limit"] == 1e-9


def test_json_says_where_and_with_what(measured):
    _, content = measured
    machine = content["machine"]
    assert machine["torch"] == torch.__version__
    assert machine["cores"] >= 1
    assert len(machine["load_average_at_start"]) == len(machine["load_average_at_end"]) == 3
    assert {"cpu", "commit", "date", "environment"} <= machine.keys()
    assert content["parameters"]["device"] == "cpu"
    assert content["parameters"]["images"] == 4


def test_table_is_plain_text_in_a_pipe(measured):
    printed, _ = measured
    for candidate in CANDIDATES:
        assert candidate in printed
    assert "\x1b" not in printed
    assert not any(line != line.rstrip() for line in printed.splitlines())


class FakeTime:
    """A clock on which candidates take what they are said to take."""

    def __init__(self):
        self.seconds = 0.0
        self.calls = []

    def candidate(self, name, seconds, threads=1):
        def run():
            self.seconds += seconds
            self.calls.append((name, torch.get_num_threads()))

        return Candidate(name, run, threads)

    def clock(self):
        """This process keeps two cores busy, another program half a core."""
        return Clock(lambda: self.seconds, lambda: 2 * self.seconds, lambda: 2.5 * self.seconds)


def test_a_turn_gives_the_seconds_of_one_call():
    time = FakeTime()
    slow, fast = time.candidate("slow", 4.0), time.candidate("fast", 0.25)
    timings = interleave([slow, fast], repeats=3, least_seconds=1.0, clock=time.clock())
    assert timings[slow].seconds == [4.0] * 3
    assert timings[fast].seconds == [0.25] * 3
    assert timings[fast].cpu_seconds == [0.5] * 3
    assert timings[fast].other_seconds == [0.125] * 3
    assert (timings[slow].calls, timings[fast].calls) == (1, 4)


def test_candidates_take_turns_in_a_changing_order():
    time = FakeTime()
    candidates = [time.candidate(name, 1.0) for name in "abc"]
    interleave(candidates, repeats=8, least_seconds=1.0, clock=time.clock())
    order = "".join(name for name, _ in time.calls)
    warm_up, rounds = order[:6], [order[i : i + 3] for i in range(6, len(order), 3)]
    assert warm_up == "aabbcc"
    assert len(rounds) == 8
    assert {"".join(sorted(turns)) for turns in rounds} == {"abc"}
    assert len(set(rounds)) > 1


def test_a_candidate_runs_with_its_threads_only():
    before = torch.get_num_threads()
    time = FakeTime()
    interleave([time.candidate(str(n), 1.0, threads=n) for n in (1, 2)], repeats=1, clock=time.clock())
    assert {(name, str(threads)) for name, threads in time.calls} == {("1", "1"), ("2", "2")}
    assert torch.get_num_threads() == before


def test_other_programs_are_unknown_where_the_system_does_not_tell():
    time = FakeTime()
    clock = Clock(lambda: time.seconds, lambda: time.seconds, lambda: None)
    candidate = time.candidate("a", 1.0)
    assert interleave([candidate], repeats=1, clock=clock)[candidate].other_seconds is None


def test_the_rivals_compute_the_same_metrics():
    pred, true = label_maps(8, 48, 6)
    loop = scikit_learn_loop(pred.numpy(), true.numpy())
    for name, values in naive_torch(pred, true).items():
        assert values.tolist() == pytest.approx(loop[name].tolist(), abs=1e-6)
    assert torchmetrics_loop(pred, true).tolist() == pytest.approx(loop["ari"].tolist(), abs=1e-5)


def test_the_largest_difference_is_found_and_nan_is_one():
    pred, true = label_maps(4, 32, 5)
    ours, loop = score(pred, true), scikit_learn_loop(pred.numpy(), true.numpy())
    assert max_difference(ours, loop) < 1e-12
    ours["msc"][2] += 0.25
    assert max_difference(ours, loop) == pytest.approx(0.25)
    ours["ari"][0] = math.nan
    assert not Check("largest difference", max_difference(ours, loop), 1e-9).passed


def test_label_maps_are_repeatable_and_all_planes_occur():
    pred, true = label_maps(64, 64, 6)
    again, _ = label_maps(64, 64, 6)
    assert torch.equal(pred, again)
    assert pred.unique().tolist() == true.unique().tolist() == list(range(6))
    assert (true > 0).flatten(1).any(1).all()
    assert (true == 0).flatten(1).any(1).all()


@pytest.mark.skipif(not memory_is_measurable(), reason="the system does not tell a process's peak memory")
def growth_of_64_mebibytes():
    return peak_growth(lambda: float(torch.ones(2**24).sum()))


def test_peak_growth_counts_what_is_freed_again():
    growth = in_fresh_process(
        growth_of_64_mebibytes
    )  # here, an earlier test's freed memory would be used again
    assert 60 * 2**20 < growth < 80 * 2**20


def test_a_fresh_process_is_another_one():
    assert in_fresh_process(os.getpid) != os.getpid()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_host_synchronisations_are_counted():
    values = torch.ones(4, device="cuda")
    assert host_synchronisations(lambda: values * 2) == 0
    assert host_synchronisations(lambda: [values.sum().item(), values.max().item()]) == 2


def fake_bench(value):
    """A bench that finds `value` where at most 1 is allowed."""

    def measure(options: Namespace) -> Report:
        return Report(
            {"depth": options.depth}, [Section("Fake", "ms", [Row("only", [1.0])], [Check("v", value, 1)])]
        )

    def add_options(parser: ArgumentParser) -> None:
        parser.add_argument("--depth", type=int, default=7)

    return SimpleNamespace(measure=measure, add_options=add_options)


@pytest.mark.parametrize(("value", "code", "verdict"), [(0.5, 0, "passed"), (1.5, 1, "FAILED")])
def test_a_failed_check_fails_the_bench(monkeypatch, tmp_path, capsys, value, code, verdict):
    monkeypatch.setitem(command.BENCHES, "fake", ("fake_bench", "A bench for tests."))
    monkeypatch.setitem(sys.modules, "fake_bench", fake_bench(value))
    path = tmp_path / "fake.json"
    assert command.main(["fake", "--json", str(path)]) == code
    assert f"v: {value} (at most 1): {verdict}" in capsys.readouterr().out
    content = json.loads(path.read_text())
    assert content["passed"] is (code == 0)
    assert content["parameters"] == {"depth": 7}


def test_what_was_measured_before_an_interruption_is_kept(monkeypatch, tmp_path):
    def measure(options: Namespace) -> Report:
        def sections():
            yield Section("First", "ms", [Row("only", [1.0])])
            raise KeyboardInterrupt

        return Report({}, sections())

    cut_off = SimpleNamespace(measure=measure, add_options=lambda parser: None)
    monkeypatch.setitem(command.BENCHES, "fake", ("fake_bench", "A bench for tests."))
    monkeypatch.setitem(sys.modules, "fake_bench", cut_off)
    path = tmp_path / "fake.json"
    assert command.main(["fake", "--json", str(path)]) == 130
    content = json.loads(path.read_text())
    assert content["finished"] is False
    assert [section["title"] for section in content["sections"]] == ["First"]


def test_figures_and_remarks_have_columns_and_a_failed_candidate_has_no_time(capsys):
    done = Row("done", [2.0], figures={"peak GB": 1.5}, remark="all of it")
    report = Report({}, [Section("Fake", "ms", [done, Row("broken", [], remark="failed: why")])])
    machine = {"load_average_at_start": [0.0], "load_average_at_end": [0.0]}
    about = {"cpu": "c", "cores": 1, "torch": "t", "commit": "x", "date": "d"}
    print_report(report, machine | about)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["candidate", "ms", "peak", "GB", "remark"] in lines
    assert ["done", "2", "1.5", "all", "of", "it"] in lines
    assert ["broken", "failed:", "why"] in lines


def test_results_go_to_a_new_file_by_default(monkeypatch, tmp_path):
    monkeypatch.setitem(command.BENCHES, "fake", ("fake_bench", "A bench for tests."))
    monkeypatch.setitem(sys.modules, "fake_bench", fake_bench(0))
    monkeypatch.setattr(command, "RESULTS", tmp_path / "bench")
    assert command.main(["fake"]) == 0
    (written,) = (tmp_path / "bench").iterdir()
    assert written.name.startswith("fake-")
    assert written.suffix == ".json"


@pytest.mark.parametrize("line", [[], ["--help"], ["-h"]])
def test_help_lists_the_benches(line, capsys):
    assert command.main(line) == 0
    printed = capsys.readouterr().out
    for name, (_, description) in command.BENCHES.items():
        assert name in printed
        assert description in printed


def test_an_unknown_bench_is_refused_with_the_list(capsys):
    assert command.main(["metric"]) == 2
    assert (
        "unknown bench 'metric': did you mean 'metrics'? Known: cost, generate, likeness, metrics, prepare"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "0"], "argument --images: expected a whole number of at least 1, found '0'"),
        (["--threads", "two"], "argument --threads: expected a whole number of at least 1, found 'two'"),
        (["--image", "3"], "unrecognized arguments: --image 3"),
    ],
)
def test_a_wrong_option_is_refused(options, message, capsys):
    with pytest.raises(SystemExit) as refused:
        command.main(["metrics", *options])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unknown_device_is_refused(capsys):
    assert command.main(["metrics", "--device", "abacus"]) == 2
    assert "tools/bench: unknown device 'abacus'" in capsys.readouterr().err


def test_prepare_measures_both_datasets_beside_their_limits(tmp_path):
    path = tmp_path / "prepare.json"
    options = ["--quick", "--scenes", "4", "--repeats", "1", "--workers", "1", "--json", str(path)]
    assert command.main(["prepare", *options]) == 0
    content = json.loads(path.read_text())
    assert content["passed"]
    names = [[row["name"] for row in section["rows"]] for section in content["sections"]]
    both = ["objbench prepare, 1 worker", "PNG encoding alone, 1 worker"]
    parse = ["objbench", "protobuf, and a join of its strings"]
    alone = "unpacking and checking the one gzip stream alone, 1 process"
    assert names == [[*both, alone], [*both, alone], parse, parse]
    for section in content["sections"]:
        assert all(sample > 0 for row in section["rows"] for sample in row["samples"])
    assert [section["checks"][0]["value"] for section in content["sections"][2:]] == [0, 0]
