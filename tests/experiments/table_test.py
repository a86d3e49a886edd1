import io

from experiments.table import markdown_table, print_columns, print_table

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


HEAD = ("run", "score", "BLEU")
RUNS = [("a|b", "dot", "7.10"), ("c", "additive", "–")]


def test_columns_have_a_head_and_figures_stand_to_the_right():
    file = io.StringIO()
    print_columns(HEAD, RUNS, title="two runs", file=file)
    assert file.getvalue().splitlines() == [
        "two runs",
        "run  score     BLEU",
        "a|b  dot       7.10",
        "c    additive     –",
    ]
    file = io.StringIO()
    print_columns(HEAD, [], title="none", file=file)
    assert file.getvalue() == "none\nrun  score  BLEU\n"


def test_columns_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    file = Terminal()
    print_columns(HEAD, [("[b]", "dot", "1")], title="[a] run", file=file)
    text = file.getvalue()
    assert "[a] run" in text and "[b]" in text and "score" in text


def test_a_table_too_wide_for_a_terminal_is_turned_over(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    # Of 80 columns.
    monkeypatch.setenv("TERM", "dumb")
    head = ("run", *(f"a figure {n}" for n in range(8)))
    rows = [(f"name {n}", *(f"{n}.{m}" for m in range(8))) for n in range(9)]
    file = Terminal()
    print_columns(head, rows, title="wide", file=file)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.split("┃")[1:-1] for line in lines if "┃" in line]
    cells = [[cell.strip() for cell in line] for line in heads]
    names = [f"name {n}" for n in range(9)]
    assert cells == [["run", *names[:7]], ["run", *names[7:]]]
    figures = [line for line in lines if "a figure 5" in line]
    assert "0.5" in figures[0] and "6.5" in figures[0] and "7.5" in figures[1]


def test_markdown():
    assert markdown_table(HEAD, RUNS) == (
        "| run | score | BLEU |\n"
        "| --- | --- | ---: |\n"
        "| a\\|b | dot | 7.10 |\n"
        "| c | additive | – |\n"
    )
