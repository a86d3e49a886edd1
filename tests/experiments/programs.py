"""Programs, called as from a command line."""

from experiments import cli


def runner(program, **options):
    """A function of a command line's arguments that runs the program in this process."""

    def run(*arguments):
        argv = [program.__name__, *map(str, arguments)]
        return cli.run(program.main, program.define_flags, argv=argv, **options)

    return run
