from experiments.outputs import print_table


def test_cells_of_figures_are_aligned_right_and_nothing_is_wrapped(capsys):
    rows = [
        ("BLEU", "7.10", "tok:13a"),
        ("exact match", "100.00", "[bold]as is"),
        ("设备", "", "x" * 300),
        ("seed", "0", ""),
    ]
    print_table("a run", rows)
    assert capsys.readouterr().out.splitlines() == [
        "a run",
        "BLEU           7.10  tok:13a",
        "exact match  100.00  [bold]as is",
        f"设备                 {'x' * 300}",
        "seed              0",
    ]


def test_a_head_is_aligned_as_its_column(capsys):
    rows = [("a|b", "dot", "7.10"), ("c", "additive", "–")]
    print_table("two", rows, ("run", "score", "BLEU"))
    assert capsys.readouterr().out.splitlines() == [
        "two",
        "run  score     BLEU",
        "a|b  dot       7.10",
        "c    additive     –",
    ]
