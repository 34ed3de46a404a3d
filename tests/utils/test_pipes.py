"""A reader that goes away, as `head` does, ends no work and prints nothing."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.processes import start

WORK = """
import logging, subprocess, sys
from sbp.utils.pipes import outlive_closed_pipes
outlive_closed_pipes()
logging.basicConfig(stream=sys.{stream})
print("first", file=sys.{stream}, flush=True)
sys.stdin.read()
for number in range(20000):
    print(number, file=sys.{stream})
logging.error("a line")
print("flushed", file=sys.{stream}, flush=True)
subprocess.run([sys.executable, "-c", "print(1)"], check=True)
open(sys.argv[1], "w").write("done")
sys.exit(7)
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_work_goes_on_and_says_nothing_when_its_reader_is_gone(stream, flags, tmp_path):
    command = [sys.executable, *flags, "-c", WORK.format(stream=stream), str(tmp_path / "done")]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        read, other = process.stdout, process.stderr
        if stream == "stderr":
            read, other = other, read
        assert read.readline() == b"first\n"
        read.close()
        process.stdin.close()
        said = other.read()
    assert (process.returncode, (tmp_path / "done").read_text()) == (7, "done")
    assert said == (b"" if stream == "stdout" else b"1\n")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("sbp.train", ["--help"]),
        ("sbp.cli.main", ["data", "show", "scale=smoke", "--images", "1"]),
        *(
            pytest.param(*command, marks=pytest.mark.slow)
            for command in (
                ("sbp.train", ["--cfg", "job"]),
                ("sbp.train", ["-m", "scale=smoke", "budget.epochs=1", "seed=0,1", "tracking=none"]),
                ("sbp.cli.main", ["--help"]),
                ("sbp.cli.main", ["options"]),
                ("sbp.cli.main", ["train", "--help"]),
                ("experiments.reproduce", ["--help"]),
            )
        ),
    ],
)
def test_every_command_outlives_its_reader(module, arguments, tmp_path):
    pipe, log = tmp_path / "pipe", tmp_path / "log.txt"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    process = start(module, *arguments, output=tmp_path / "out", log=log, out=pipe)
    process.wait_for(log.exists)  # which is opened after the pipe
    os.close(reader)
    assert process.wait() == 0
    assert [line for line in log.read_text().splitlines() if " jobs | running: " not in line] == []
