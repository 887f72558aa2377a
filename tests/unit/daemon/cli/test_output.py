"""Progress is a bar on a terminal, and log lines elsewhere; stdout stays free for the answer."""

import io

import pytest

from factd.daemon.cli.output import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_each_stage_has_a_bar_with_its_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as report:
        report("values", 3, 69)
        report("values", 69, 69)
        report("solve", 1, 3)
    shown = terminal.getvalue()
    assert "values" in shown and "solve" in shown
    assert "69/69" in shown
    assert capsys.readouterr().out == ""


def test_elsewhere_no_bar_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as report:
        report("values", 69, 69)
    captured = capsys.readouterr()
    assert "━" not in captured.out + captured.err
    assert "values" in captured.out + captured.err  # a log line
