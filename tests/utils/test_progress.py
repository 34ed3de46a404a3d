"""Progress: what is shown, when, and an estimate of the time left only where it means something."""

import io
import re
import sys

import pytest

from sbp.utils.progress import CountProgress, ProgressLine, RunProgress, TimeLeft, clock


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def seconds(text: str) -> int:
    """A time as `clock` writes it."""
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return total


@pytest.mark.parametrize(
    ("value", "text"), [(59.9, "0:59"), (61, "1:01"), (3600, "1:00:00"), (float("nan"), "-:--")]
)
def test_clock(value, text):
    assert clock(value) == text


@pytest.mark.parametrize("first", [0.0, 0.5])
def test_work_at_an_even_speed_is_estimated_exactly(first):
    left = TimeLeft()
    for second in range(51):
        left.update(first + second / 100 * (1 - first), second)
    assert left.seconds() == pytest.approx(50)


def test_nothing_is_estimated_from_little():
    left = TimeLeft()
    assert left.seconds() is None
    for second in range(5):
        left.update(second / 100, second)
        assert left.seconds() is None
    left = TimeLeft()
    left.update(0.0, 0)
    left.update(0.3, 1)  # one step of few
    assert left.seconds() is None


WARM_UPS = {
    "nothing is counted for two minutes": [(0.0, 120)],
    "the first percent takes two minutes": [(i / 1000, 12) for i in range(11)],
    "four percent, slower and slower": [(i / 250, 3 * i) for i in range(11)],
    "it starts at once": [],
}


@pytest.mark.parametrize("warm_up", WARM_UPS)
def test_a_slow_beginning_gives_no_absurd_estimate(warm_up):
    """After the beginning, whatever it took, the rest takes 100 s in all."""
    left, now, share, said = TimeLeft(), 0.0, 0.0, []
    for share, pause in WARM_UPS[warm_up]:
        now += pause
        left.update(share, now)
        assert left.seconds() is None
    while share < 0.99:
        share, now = share + 0.002, now + 0.2
        left.update(share, now)
        if (estimate := left.seconds()) is not None:
            said.append(estimate / (100 * (1 - share)))
    assert len(said) > 400  # of 500 steps: it comes early enough to be of use
    assert max(said) < 2.5
    assert min(said) > 0.5
    assert said[-1] == pytest.approx(1)


def train(progress: RunProgress, now: Clock, epochs: int, steps: int = 20, step_s: float = 1.0) -> None:
    """What a trainer tells of its epochs, after a first scoring pass of five minutes."""
    progress.stage(0, "scoring", 1000)
    for _ in range(10):
        now.time += 30
        progress.advance(100)
    for epoch in range(epochs):
        progress.stage(epoch, "training", 8 * steps)
        for step in range(steps):
            now.time += step_s
            progress.advance(8, (epoch + (step + 1) / steps) / epochs)
        progress.epoch_done(epoch, {"train/loss": 1 / (epoch + 1), "val/map": 0.25})
    progress.close()


def test_a_log_gets_a_line_now_and_then_and_no_absurd_time():
    now, lines = Clock(), []
    train(RunProgress(60, write=lines.append, terminal=False, now=now), now, epochs=40)
    assert len(lines) == 14  # the first epoch, each minute of the 800 s after it, the end
    assert lines[0] == "  2 % | epoch 1, loss 1.0000, mAP 0.250"
    assert lines[-1] == "100 % | epoch 40, loss 0.0250, mAP 0.250 | 0:00 left"
    for line in lines[2:]:
        share, left = re.fullmatch(r" *(\d+) % \| epoch \d+, .* \| ([\d:]+) left", line).groups()
        assert seconds(left) == pytest.approx(800 * (1 - int(share) / 100), abs=10)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch) -> Terminal:
    """Put a terminal in the place of stderr; called by the test itself, as pytest sets stderr before it."""
    monkeypatch.delenv("SBP_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def shown(terminal: Terminal) -> list[str]:
    """What a terminal showed one after the other, without colours."""
    text = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    return [line.strip() for line in re.split(r"[\r\n]|\x1b\[\d*[A-Z]", text) if line.strip()]


def test_a_terminal_gets_a_bar_that_stays(monkeypatch):
    terminal = open_terminal(monkeypatch)
    now = Clock()
    train(RunProgress(now=now), now, epochs=40)
    lines = shown(terminal)
    scored = lines.index(f"{'━' * 24}   0 % epoch 1 | scoring 1000/1000, 3 images/s")
    assert not any("left" in line for line in lines[: scored + 20])
    (line,) = [line for line in lines if " epoch 25, " in line and "training 16/160" in line]
    assert re.search(r" 60 % epoch 25, loss 0\.0417, mAP 0\.250 \| 5:18 left \| .* 8 images/s$", line)
    assert "100 % epoch 40, loss 0.0250, mAP 0.250 | 0:00 left" in lines[-1]
    assert terminal.getvalue().endswith("\n")
    assert "\x1b[?25l" not in terminal.getvalue()  # the cursor stays, should the process be killed


def test_a_job_of_a_sweep_draws_nothing_on_the_terminal(monkeypatch):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("SBP_PROGRESS", "/somewhere")
    now, lines = Clock(), []
    train(RunProgress(60, write=lines.append, now=now), now, epochs=40)
    assert len(lines) == 14
    assert terminal.getvalue() == ""


def count(progress: CountProgress, now: Clock) -> None:
    for done in range(1, 101):
        now.time += 0.2
        progress(done, 100)


def test_items_are_counted_in_a_line_now_and_then():
    now, lines = Clock(), []
    count(CountProgress("preparing parts", write=lines.append, terminal=False, now=now), now)
    assert [line.split(" | ")[0] for line in lines] == [" 25 %", " 50 %", " 75 %", "100 %"]
    assert lines[1] == " 50 % | preparing parts: 50 of 100 images | 0:10 left"
    quick = []
    CountProgress("preparing parts", write=quick.append, terminal=False, now=now)(100, 100)
    assert quick == []


def test_items_are_counted_on_a_terminal(monkeypatch):
    terminal = open_terminal(monkeypatch)
    now = Clock()
    count(CountProgress("reading", now=now), now)
    assert any(line.endswith(" 50 % reading: 50 of 100 images | 0:10 left") for line in shown(terminal))
    assert "reading: 100 of 100 images" in shown(terminal)[-1]


def test_output_stands_above_the_bar_where_both_are_on_the_terminal(monkeypatch):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(sys, "stdout", terminal)
    line = ProgressLine(0)
    line.show(0.5, "predicting: 1 of 2 images")
    line.say("[bold]a.png[/bold]  scratch 0.013 " + "x" * 300)
    line.show(1, "predicting: 2 of 2 images", at_once=True)
    line.close()
    lines = shown(terminal)
    (said,) = [
        number for number, text in enumerate(lines) if text.startswith("[bold]a.png[/bold]  scratch 0.013 x")
    ]
    assert lines[said].endswith("x" * 300)
    assert all("images" in text for number, text in enumerate(lines) if number not in (0, said))
    assert "2 of 2" in lines[-1]


def test_output_goes_to_stdout_where_that_is_no_terminal(monkeypatch, capsys):
    stdout = sys.stdout
    terminal = open_terminal(monkeypatch)
    line = ProgressLine(0)
    line.show(0.5, "predicting: 1 of 2 images")
    line.say("a.png  scratch 0.013")
    line.close()
    assert sys.stdout is stdout
    assert capsys.readouterr().out == "a.png  scratch 0.013\n"
    assert "a.png" not in terminal.getvalue()


def test_a_narrow_terminal_keeps_the_bar_and_one_line(monkeypatch):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "60")
    line = ProgressLine(0)
    line.show(0.5, "epoch 3, loss 0.0537", "running: " + "a long name, " * 20)
    line.close()
    (*_, last) = shown(terminal)
    assert last.startswith("━" * 12 + "╺" + "━" * 11 + "  50 % epoch 3, loss 0.05")
    assert len(last) == 60
    assert last.endswith("…")
    assert terminal.getvalue().count("\n") == 1


def test_names_with_brackets_are_shown_as_they_are(monkeypatch):
    terminal = open_terminal(monkeypatch)
    line = ProgressLine(0)
    line.show(0.5, "[bold]run[/bold] [3]")
    line.close()
    assert "[bold]run[/bold] [3]" in shown(terminal)[-1]
