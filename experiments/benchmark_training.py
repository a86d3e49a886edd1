"""Times a training step and greedy translation; beside PyTorch, where torch is installed.

    python -m experiments.benchmark_training --output=FILE.json

The step is that of a bidirectional LSTM encoder and an LSTM decoder with bilinear attention;
`torch` trains a twin of it written by hand, from the same parameters on the same batch, and
the losses are compared first. The two take turns. `make peers` builds an environment with
torch. How to measure JoeyNMT on the same pairs is in docs/training.md.
"""

import importlib.util
import sys
import types
from collections.abc import Sequence

from absl import flags

from attention_jax.errors import UserError
from experiments import cli
from experiments.outputs import check_output
from experiments.tables import print_table


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the sizes, --repeats, --twin, --scores and --output."""
    sizes = {
        "batch_size": (64, "B, sentences in a batch."),
        "source_length": (16, "S, words in each source."),
        "target_length": (12, "T, words and EOS in each target."),
        "embedding_size": (256, "E."),
        "encoder_size": (256, "Width of each direction of the encoder."),
        "decoder_size": (512, "H of the decoder."),
        "source_vocabulary": (2_800, "W of the source."),
        "target_vocabulary": (3_900, "W of the target."),
        "repeats": (20, "Rounds of interleaved samples."),
    }
    for name, (default, text) in sizes.items():
        # A vocabulary has four special tokens and at least one word.
        least = 5 if name.endswith("vocabulary") else 1
        flags.DEFINE_integer(
            name, default, text, lower_bound=least, flag_values=flag_values
        )
    flags.DEFINE_enum(
        "compute_dtype",
        "float32",
        ["float32", "bfloat16"],
        "What our step computes in.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "twin",
        "auto",
        ["auto", "yes", "no"],
        "Whether to train the PyTorch twin: auto does if torch is installed.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "scores",
        [],
        "NAME,NAME: also times the step with each of these scores, in turns; none: "
        "without attention; all: every registered one, and none.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "output", None, "JSON file for the figures.", flag_values=flag_values
    )


def main(arguments: types.SimpleNamespace) -> None:
    """Measures, prints and writes."""
    import jax

    from attention_jax.atomic_write import write_json
    from attention_jax.benchmarking.score_speed import (
        WITHOUT,
        measure_scores,
        score_rows,
    )
    from attention_jax.benchmarking.training_speed import (
        Workload,
        measure_training,
        report_rows,
    )
    from attention_jax.config import ModelConfig

    # What was compiled before would say nothing about compiling.
    jax.config.update("jax_enable_compilation_cache", False)
    installed = importlib.util.find_spec("torch") is not None
    if arguments.twin == "yes" and not installed:
        raise UserError("--twin=yes needs torch, which is not installed: `make peers`")
    twin = installed and arguments.twin != "no" and arguments.compute_dtype == "float32"
    if arguments.twin == "yes" and arguments.compute_dtype != "float32":
        raise UserError(
            "--twin=yes needs --compute_dtype=float32, which is what the twin computes in, "
            f"got {arguments.compute_dtype}"
        )
    output = check_output(arguments.output)
    scores = checked_scores(arguments.scores, WITHOUT)
    model = ModelConfig(
        score="bilinear",
        readout="tanh",
        embedding_size=arguments.embedding_size,
        encoder_size=arguments.encoder_size,
        decoder_size=arguments.decoder_size,
    )
    workload = Workload(
        model=model,
        source_vocabulary=arguments.source_vocabulary,
        target_vocabulary=arguments.target_vocabulary,
        batch_size=arguments.batch_size,
        source_length=arguments.source_length,
        target_length=arguments.target_length,
        compute_dtype=arguments.compute_dtype,
    )
    result = measure_training(workload, repeats=arguments.repeats, twin=twin)
    result["command"] = [
        "python",
        "-m",
        "experiments.benchmark_training",
        *sys.argv[1:],
    ]
    print_table(
        report_rows(result),
        title=(
            f"{result['parameters']:,} parameters, {result['flops'] / 1e9:.1f} GFLOP, "
            f"matmul peak {result['peak_flops_per_second'] / 1e9:.0f} GFLOP/s"
        ),
    )
    translation, imports = result["translation"], result["imports"]
    print(f"greedy: {translation['sentences_per_second']:,.0f} sentences/s")
    print("imports: " + ", ".join(f"{k} {v:.1f} s" for k, v in imports.items()))
    if scores:
        result["scores"] = measure_scores(workload, scores, repeats=arguments.repeats)
        print_table(score_rows(result["scores"]), title="the step by its score")
    if output:
        write_json(output, result)
        print(f"wrote {output}")


def checked_scores(names: Sequence[str], without: str) -> list[str]:
    """The scores that --scores names, `without` for none at all.

    Raises:
      UserError: there is no such score.
    """
    from attention_jax import get_score, score_names
    from attention_jax.errors import UnknownNameError

    if list(names) == ["all"]:
        return [*score_names(), without]
    for name in names:
        try:
            if name != without:
                get_score(name)
        except UnknownNameError as error:
            raise UserError(f"--scores: {error}") from error
    return list(dict.fromkeys(names))


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags))
