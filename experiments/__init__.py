"""Command-line programs; each is `python -m experiments.NAME --help`."""
