"""A log that was cut off anywhere: what was committed stays, the rest is taken back."""

import json

import pytest

from sbp.errors import UserError
from sbp.utils.jsonlines import JsonLines


class Log(JsonLines):
    """Groups end with a line {"kind": "end"}."""

    def __init__(self, path):
        super().__init__(path, "kind")

    def commits(self, content):
        return content["kind"] == "end"

    def step(self, content):
        return content.get("step", -1)


def filled(path, groups: int = 2) -> Log:
    log = Log(path)
    for step in range(groups):
        log.append({"kind": "value", "step": step})
        log.append({"kind": "end"})
    return log


def test_wherever_it_is_cut_off_whole_groups_stay_and_the_rest_goes(tmp_path):
    whole = filled(tmp_path / "whole").path.read_bytes()
    first = whole.index(b'end"}\n') + len(b'end"}\n')
    for cut in range(len(whole) + 1):
        path = tmp_path / str(cut)
        path.write_bytes(whole[:cut])
        log = Log(path)
        committed = len(whole) if cut == len(whole) else first if cut >= first else 0
        assert log.committed == committed
        assert log.last_step == {0: -1, first: 0, len(whole): 1}[committed]
        log.rollback()
        assert path.read_bytes() == whole[:committed]
        log.append({"kind": "end"})
        assert [json.loads(line)["kind"] for line in path.read_text().splitlines()][-1] == "end"
        assert Log(path).committed == log.committed == log.size


def test_what_is_not_committed_is_not_read(tmp_path):
    log = filled(tmp_path / "log")
    log.append({"kind": "value", "step": 2})
    assert [entry.content.get("step") for entry in Log(log.path).read()] == [0, None, 1, None]
    assert log.size > log.committed


def test_it_reads_on_from_where_an_entry_ends(tmp_path):
    log = filled(tmp_path / "log")
    first, second, *_ = log.read()
    assert [entry.content for entry in log.read(first.end, second.end)] == [{"kind": "end"}]


def test_a_log_that_is_not_there_is_empty(tmp_path):
    log = Log(tmp_path / "log")
    log.rollback()
    assert (log.size, log.committed, log.last_step, list(log.read())) == (0, 0, -1, [])


@pytest.mark.parametrize("damage", [b"\x00" * 20, b"[1, 2]", b'{"no": "kind"}', b"7"])
def test_a_damaged_line_is_named_by_file_and_place(tmp_path, damage):
    log = filled(tmp_path / "log")
    log.path.write_bytes(damage + b"\n" + log.path.read_bytes())
    with pytest.raises(UserError, match=rf"log: damaged before byte {len(damage) + 1}; move it away"):
        Log(log.path).rollback()
