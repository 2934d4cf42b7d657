import sys

import pytest
import torch
from helpers.ranks import finish, start, work

from objbench.errors import ObjbenchError, RequestError
from objbench.ranks.group import ALONE, Ranks, join


def test_alone_every_call_is_that_of_one_process():
    values = torch.ones(2)
    ALONE.sum(values)
    assert values.tolist() == [1, 1]
    assert ALONE.gather(3) == [3]
    assert ALONE.on_first(lambda: 4) == ALONE.all_do(lambda: 4) == 4
    assert ALONE.most([1.0, 2.0]) == [1.0, 2.0]
    assert ALONE.speaks()
    assert ALONE.device("cuda:1") == "cuda:1"
    ALONE.refuse_alone(ValueError(), "")
    ALONE.leave()


@pytest.mark.parametrize(
    ("missing", "size"),
    [("", "1"), ("RANK", "2"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "2"), ("MASTER_PORT", "2")],
)
def test_without_other_processes_nothing_is_joined(monkeypatch, missing, size):
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing, raising=False)
    assert join() is ALONE


def test_variables_that_are_no_numbers_are_refused(monkeypatch):
    for name, value in {
        "RANK": "x",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RequestError, match="have to be numbers"):
        join()


def test_devices_of_several_processes(monkeypatch):
    second = Ranks(1, 2, local=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert second.device("auto") == second.device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert second.device("auto") == second.device("cuda") == "cuda:1"
    with pytest.raises(RequestError, match="GPU of its own"):
        second.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RequestError, match="process 1 of this host has no GPU: there are 1"):
        second.device("auto")


@pytest.mark.parametrize(("seen", "places"), [("0,1", [0, 1]), ("1", [0, 0])])
def test_a_process_takes_its_place_among_those_that_see_the_same_gpus(monkeypatch, seen, places):
    """Also where nothing sets LOCAL_RANK; a process that has GPUs of its own takes the first of them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    command = ["env", "-u", "LOCAL_RANK", sys.executable, "-m", "helpers.rank_work", "place", "{}"]
    other = [*command[:3], f"CUDA_VISIBLE_DEVICES={seen}", *command[3:]]
    found = finish(start(2, command, {1: other}))
    assert [(code, out) for code, out, _ in found] == [(0, f"{place}\n") for place in places]


@pytest.mark.slow
def test_what_processes_tell_each_other():
    found = work(3, "conversation")
    assert [one["gathered"] for one in found] == [[0, 10, 20]] * 3
    assert [one["sum"] for one in found] == [[3.0, 33.0]] * 3
    assert [one["most"] for one in found] == [[2.0, 0.0]] * 3
    assert [one["first"] for one in found] == [0] * 3
    assert [one["refused on first"] for one in found] == ["RequestError: no"] * 3
    assert [one["held"] for one in found] == [["in", "out"], [], []]
    assert [one["failed in one"] for one in found] == [
        "ObjbenchError: process 1 of 3: broken",
        "ValueError: broken",
        "ObjbenchError: process 1 of 3: broken",
    ]
    words = "RequestError: the processes of this run disagree: a.b is 0 in process 0, 1 in process 1; start all of them"
    assert all(one["different"].startswith(words) for one in found)
    assert sum(one["speaks"] for one in found) == 1
    assert [one["failed together"] for one in found] == ["goes on"] * 3
    assert [one["failed alone"] for one in found] == ["", "ObjbenchError: process 1 of 3: why", ""]
    assert issubclass(RequestError, ObjbenchError)


@pytest.mark.slow
def test_nothing_holds_the_group_after_leaving():
    """Its threads would go on until the interpreter ends, and abort a process that ends while they let go of a tensor."""
    assert work(2, "leaving") == [True, True]
