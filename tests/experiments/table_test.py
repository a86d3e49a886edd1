import io

from experiments.table import print_table

ROWS = [("BLEU", "7.10", "tok:13a"), ("exact match", "100.00", "[bold]as is")]


def test_a_pipe_gets_plain_columns():
    file = io.StringIO()
    print_table([*ROWS, ("device", "", "x" * 300)], title="a run", file=file)
    title, *lines = file.getvalue().splitlines()
    assert title == "a run"
    assert lines[:2] == [
        "BLEU           7.10  tok:13a",
        "exact match  100.00  [bold]as is",
    ]
    assert lines[2].endswith("x" * 300)
    assert not any(line != line.rstrip() for line in lines)


def test_a_terminal_gets_a_table(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    file = Terminal()
    print_table(ROWS, title="a run", file=file)
    text = file.getvalue()
    assert "a run" in text and "│" in text
    # Nothing is taken for markup.
    assert "[bold]as is" in text
