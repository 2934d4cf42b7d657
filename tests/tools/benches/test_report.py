from __future__ import annotations

from benches.report import Report, Row, Section, print_report


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


def test_an_aim_of_a_row_is_shown_with_the_verdict(capsys):
    rows = [Row("fast", [9.0, 10.0, 11.0], aim=10.0), Row("slow", [9.0], aim=10.0), Row("free", [1.0])]
    machine = {"cpu": "", "cores": 1, "torch": "", "commit": "", "date": ""}
    load = {"load_average_at_start": [0], "load_average_at_end": [0]}
    print_report(Report({}, [Section("Rates", "scenes/s", rows)]), machine | load)
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["fast"][-2:] == ["10", "reached"]
    assert lines["slow"][-2:] == ["10", "missed"]
    assert lines["free"][-1] == "1"
