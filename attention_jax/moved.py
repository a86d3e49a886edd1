"""Former names of modules, which keep working for one release with a warning."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from typing import Any

# Former module: the modules that have its names now.
MOVED: dict[str, tuple[str, ...]] = {
    "attention_jax.registry": ("attention_jax.functions.registry",),
    "attention_jax.score_function": ("attention_jax.functions.score",),
    "attention_jax.normalizer_function": ("attention_jax.functions.normalizer",),
    "attention_jax.parameters": ("attention_jax.functions.params",),
    "attention_jax.prepared": (
        "attention_jax.functions.prepared",
        "attention_jax.attention",
    ),
    "attention_jax.combinators": ("attention_jax.score_modifiers",),
    "attention_jax.single_query": (
        "attention_jax.attention",
        "attention_jax.kernels.reference",
    ),
    "attention_jax.averaging": ("attention_jax.attention",),
    "attention_jax.kernels.dispatch": (
        "attention_jax.attention",
        "attention_jax.kernels.cost_model",
    ),
    "attention_jax.configuration": ("attention_jax.config",),
    "attention_jax.validation": ("attention_jax.experiment",),
    "attention_jax.evaluation.held_out": ("attention_jax.evaluation.evaluate",),
    "attention_jax.evaluation.quality_by_length": (
        "attention_jax.evaluation.significance",
    ),
    "attention_jax.evaluation.figures": ("attention_jax.evaluation.plots",),
    "attention_jax.evaluation.figure_files": ("attention_jax.evaluation.plots",),
    "attention_jax.evaluation.report": ("attention_jax.evaluation.tables",),
    "attention_jax.evaluation.comparison_report": ("attention_jax.evaluation.tables",),
    "attention_jax.evaluation.run_comparison": ("attention_jax.evaluation.compare",),
    "attention_jax.evaluation.system_comparison": ("attention_jax.evaluation.compare",),
    "attention_jax.evaluation.learning_curves": ("attention_jax.evaluation.curves",),
    "attention_jax.evaluation.length_curves": ("attention_jax.evaluation.curves",),
    "attention_jax.evaluation.pharaoh": ("attention_jax.evaluation.alignment",),
    "attention_jax.evaluation.alignment_error_rate": (
        "attention_jax.evaluation.alignment",
    ),
    "attention_jax.evaluation.attention_alignment": (
        "attention_jax.evaluation.alignment",
    ),
    "attention_jax.evaluation.attention_links": ("attention_jax.evaluation.alignment",),
    "attention_jax.evaluation.reference_alignment": (
        "attention_jax.evaluation.alignment",
    ),
    "attention_jax.models.attention_layer": ("attention_jax.nn.attention",),
    "attention_jax.models.recurrent": ("attention_jax.nn.recurrent",),
    "attention_jax.models.functional": (
        "attention_jax.models.factory",
        "attention_jax.models.base",
    ),
    "attention_jax.models.wirings": ("attention_jax.models.attention_wiring",),
    "attention_jax.decoding.sentences": ("attention_jax.decoding.translate",),
    "attention_jax.decoding.greedy": ("attention_jax.decoding.autoregressive",),
    "attention_jax.decoding.sampling": ("attention_jax.decoding.autoregressive",),
    "attention_jax.decoding.forced": ("attention_jax.decoding.autoregressive",),
    "attention_jax.training.checkpoint_reading": (
        "attention_jax.training.checkpoints",
    ),
    "attention_jax.training.config_variation": ("attention_jax.evaluation.compare",),
    "attention_jax.training.stored_config": ("attention_jax.training.run_directory",),
    "attention_jax.score_checking": ("attention_jax.testing.check_score",),
    "attention_jax.data.alignment": ("attention_jax.data.pairs",),
}
# Names that have changed, by former module and name: (module, name) now.
RENAMED: dict[tuple[str, str], tuple[str, str]] = {
    ("attention_jax.evaluation.held_out", "known_links"): (
        "attention_jax.evaluation.alignment",
        "gold_links",
    ),
    ("attention_jax.evaluation.held_out", "known_alignment"): (
        "attention_jax.evaluation.alignment",
        "gold_alignment",
    ),
    ("attention_jax.evaluation.report", "rows"): (
        "attention_jax.evaluation.tables",
        "evaluation_rows",
    ),
    ("attention_jax.evaluation.comparison_report", "tables"): (
        "attention_jax.evaluation.tables",
        "system_tables",
    ),
}


class _FormerModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its former name and looks its names up where they are now."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname in MOVED:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        former = module.__name__

        def get(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if (former, name) in RENAMED:
                places = [RENAMED[former, name]]
            else:
                places = [(place, name) for place in MOVED[former]]
            for place, now in places:
                found = importlib.import_module(place)
                if hasattr(found, now):
                    warnings.warn(
                        f"{former}.{name} is deprecated: import {now} from {place}",
                        DeprecationWarning,
                        stacklevel=2,
                    )
                    return getattr(found, now)
            raise AttributeError(f"module {former!r} has no attribute {name!r}")

        module.__getattr__ = get


def install() -> None:
    """Makes the former names importable; called once by the package."""
    sys.meta_path.append(_FormerModules())
