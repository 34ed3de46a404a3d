"""Digests of files: what is cached, and what is read again."""

import json
import os

import pytest

from sbp.data.disk.content import UNREADABLE, file_digests
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
    first = file_digests(files)
    assert len(set(first)) == 3
    assert file_digests([twin]) == first[1:2]


def test_only_new_and_changed_files_are_read_again(files, tmp_path):
    cache = tmp_path / "kept" / "contents.json"
    before = file_digests(files[:2], cache)
    known = json.loads(cache.read_text())
    known[str(files[0])][2] = "cached"
    cache.write_text(json.dumps(known))
    files[1].write_bytes(b"other")  # of the same size
    after = file_digests(files, cache)
    assert after[0] == "cached"
    assert after[1] not in before
    assert file_digests(files, cache) == after


@pytest.mark.parametrize("content", ["", "[", "{} {}", "7"])
def test_a_damaged_cache_is_made_anew(files, tmp_path, content):
    cache = tmp_path / "contents.json"
    cache.write_text(content)
    assert file_digests(files, cache) == file_digests(files)
    assert len(json.loads(cache.read_text())) == 3


def test_a_missing_file_is_named_and_an_unreadable_one_is_not_cached(files, tmp_path):
    cache = tmp_path / "contents.json"
    files[0].unlink()
    with pytest.raises(UserError, match=r"0\.png: cannot be read"):
        file_digests(files, cache)
    files[0].mkdir()  # what is no file cannot be read, for root neither
    assert file_digests(files, cache)[0] == UNREADABLE
    assert len(json.loads(cache.read_text())) == 2
