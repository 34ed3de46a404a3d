"""Digests of files: what is remembered, and what is read again."""

import json
import os

import pytest

from sbp.data.disk.content import UNREADABLE, digests
from sbp.errors import UserError


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for n, path in enumerate(paths):
        path.write_bytes(bytes([n]) * 5)
    return paths


def test_equal_bytes_are_equal_wherever_and_whenever(files, tmp_path):
    twin = tmp_path / "twin.png"
    twin.write_bytes(files[1].read_bytes())
    os.utime(twin, ns=(1, 1))
    first = digests(files)
    assert len(set(first)) == 3
    assert digests([twin]) == first[1:2]


def test_only_new_and_changed_files_are_read_again(files, tmp_path):
    memory = tmp_path / "kept" / "contents.json"
    before = digests(files[:2], memory)
    known = json.loads(memory.read_text())
    known[str(files[0])][2] = "remembered"
    memory.write_text(json.dumps(known))
    files[1].write_bytes(b"other")  # of the same size
    after = digests(files, memory)
    assert after[0] == "remembered"
    assert after[1] not in before
    assert digests(files, memory) == after


@pytest.mark.parametrize("content", ["", "[", "{} {}", "7"])
def test_a_damaged_memory_is_made_anew(files, tmp_path, content):
    memory = tmp_path / "contents.json"
    memory.write_text(content)
    assert digests(files, memory) == digests(files)
    assert len(json.loads(memory.read_text())) == 3


def test_a_missing_file_is_named_and_an_unreadable_one_is_not_remembered(files, tmp_path):
    memory = tmp_path / "contents.json"
    files[0].unlink()
    with pytest.raises(UserError, match=r"0\.png: cannot be read"):
        digests(files, memory)
    files[0].mkdir()  # what is no file cannot be read, for root neither
    assert digests(files, memory)[0] == UNREADABLE
    assert len(json.loads(memory.read_text())) == 2
