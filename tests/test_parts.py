"""`--part`: which share of the work is a process's, by number or by the variables of array schedulers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objbench.errors import RequestError
from objbench.parts import WHOLE, Part, parse_part

SLURM = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "9"}
SGE = {"SGE_TASK_FIRST": "2", "SGE_TASK_LAST": "10", "SGE_TASK_STEPSIZE": "4"}


@given(st.integers(1, 20), st.integers(0, 40))
def test_parts_are_disjoint_and_together_the_whole(of, count):
    shares = [Part(number, of).share(range(count)) for number in range(1, of + 1)]
    assert sorted(item for share in shares for item in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_without_a_part_all_is_ours():
    assert parse_part(None) == WHOLE
    assert WHOLE.share("abc") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("3/64", {}, Part(3, 64)),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "10"}, Part(1, 10)),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "10"}, Part(10, 10)),
        (
            "auto",  # sbatch --array=1-7:3 has the tasks 1, 4 and 7
            {
                "SLURM_ARRAY_TASK_ID": "4",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_STEP": "3",
                "SLURM_ARRAY_TASK_COUNT": "3",
            },
            Part(2, 3),
        ),
        ("auto/4", {"JOB_COMPLETION_INDEX": "3"}, Part(4, 4)),
        ("auto", {"JOB_COMPLETION_INDEX": "3", "OBJBENCH_PARTS": "8"}, Part(4, 8)),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "5", "AWS_BATCH_JOB_ARRAY_SIZE": "6"}, Part(6, 6)),
        ("auto/5", {"PBS_ARRAY_INDEX": "1"}, Part(1, 5)),
        ("auto", {**SGE, "SGE_TASK_ID": "6"}, Part(2, 3)),
        ("auto", {**SGE, "SGE_TASK_ID": "10"}, Part(3, 3)),
    ],
)
def test_a_part_by_number_and_by_each_scheduler(monkeypatch, text, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert parse_part(text) == expected


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("0/4", {}, "--part 0/4: there is no part 0 of 4; parts are counted from 1"),
        ("5/4", {}, "--part 5/4: there is no part 5 of 4"),
        ("1/0", {}, "there is no part 1 of 0"),
        ("-1/4", {}, "there is no part -1 of 4"),
        ("3", {}, "--part 3: expected K/N such as 3/64, auto or auto/N"),
        ("a/b", {}, "expected K/N"),
        ("1/2/3", {}, "expected K/N"),
        ("", {}, "expected K/N"),
        ("auto", {}, "--part auto: not within an array of jobs (none of SLURM_ARRAY_TASK_ID, "),
        ("auto", {"SGE_TASK_ID": "undefined"}, "SGE_TASK_ID is 'undefined', not a number"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "does not tell how many tasks there are; say it with"),
        ("auto", {"PBS_ARRAY_INDEX": "1"}, "does not tell how many tasks there are"),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "1"}, "does not tell how many tasks there are"),
        ("auto/x", {"JOB_COMPLETION_INDEX": "1"}, "the number after auto/ is 'x', not a number"),
        ("auto/2", {"JOB_COMPLETION_INDEX": "2"}, "there is no part 3 of 2"),
        ("auto", {**SGE, "SGE_TASK_ID": "7"}, "not a number of this array (from 2 in steps of 4)"),
    ],
)
def test_other_texts_and_places_are_refused(monkeypatch, text, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RequestError) as error:
        parse_part(text)
    assert message in str(error.value)
