import io

from experiments.tables import format_table, print_table

HEAD = ("run", "score", "BLEU")
RUNS = [("a|b", "dot", "7.10"), ("c", "additive", "–")]


def test_cells_of_figures_are_aligned_right_and_nothing_is_wrapped():
    file = io.StringIO()
    rows = [
        ("BLEU", "7.10", "tok:13a"),
        ("exact match", "100.00", "[bold]as is"),
        ("设备", "", "x" * 300),
        ("seed", "0", ""),
    ]
    print_table(rows, title="a run", file=file)
    assert file.getvalue().splitlines() == [
        "a run",
        "BLEU           7.10  tok:13a",
        "exact match  100.00  [bold]as is",
        f"设备                 {'x' * 300}",
        "seed              0",
    ]


def test_a_head_is_aligned_as_its_column():
    assert format_table(RUNS, HEAD).splitlines() == [
        "run  score     BLEU",
        "a|b  dot       7.10",
        "c    additive     –",
    ]
    assert format_table([], HEAD) == "run  score  BLEU"


def test_markdown():
    assert format_table(RUNS, HEAD, markdown=True).splitlines() == [
        "| run   | score    |   BLEU |",
        "|:------|:---------|-------:|",
        "| a\\|b  | dot      |   7.10 |",
        "| c     | additive |      – |",
    ]
