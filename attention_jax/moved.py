"""Former names of modules, which keep working for one release with a warning."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from typing import Any

# Former module: the modules that have its names now; all inside attention_jax.
MOVED = {
    "registry": "functions.registry",
    "score_function": "functions.score",
    "normalizer_function": "functions.normalizer",
    "parameters": "functions.params",
    "prepared": "functions.prepared attention",
    "combinators": "score_modifiers",
    "single_query": "attention kernels.reference",
    "averaging": "attention",
    "kernels.dispatch": "attention kernels.cost_model",
    "configuration": "config",
    "validation": "experiment",
    "evaluation.held_out": "evaluation.evaluate",
    "evaluation.quality_by_length": "evaluation.significance",
    "evaluation.figures": "evaluation.plots",
    "evaluation.figure_files": "evaluation.plots",
    "evaluation.report": "evaluation.tables",
    "evaluation.comparison_report": "evaluation.tables",
    "evaluation.run_comparison": "evaluation.compare",
    "evaluation.run_summary": "evaluation.compare",
    "evaluation.system_comparison": "evaluation.compare",
    "evaluation.learning_curves": "evaluation.curves",
    "evaluation.length_curves": "evaluation.curves",
    "evaluation.pharaoh": "evaluation.alignment",
    "evaluation.alignment_error_rate": "evaluation.alignment",
    "evaluation.attention_alignment": "evaluation.alignment",
    "evaluation.attention_links": "evaluation.alignment",
    "evaluation.reference_alignment": "evaluation.alignment",
    "models.attention_layer": "nn.attention",
    "models.recurrent": "nn.recurrent",
    "models.functional": "models.factory models.base",
    "models.wirings": "models.attention_wiring",
    "decoding.sentences": "decoding.translate",
    "decoding.greedy": "decoding.autoregressive",
    "decoding.sampling": "decoding.autoregressive",
    "decoding.forced": "decoding.autoregressive",
    "training.checkpoint_reading": "training.checkpoints",
    "training.config_variation": "evaluation.compare",
    "training.stored_config": "training.run_directory",
    "score_checking": "testing.check_score",
    "data.alignment": "data.pairs",
    "data.vocabulary": "data.codec",
    "data.text": "data.sources data.tokenization",
    "training.metrics": "training.step",
}
# Names that have changed.
RENAMED = {
    "evaluation.held_out.known_links": "evaluation.alignment.gold_links",
    "evaluation.held_out.known_alignment": "evaluation.alignment.gold_alignment",
    "evaluation.report.rows": "evaluation.tables.evaluation_rows",
    "evaluation.comparison_report.tables": "evaluation.tables.system_tables",
}


class _FormerModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its former name and looks its names up where they are now."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        package, _, former = fullname.partition(".")
        if package == __package__ and former in MOVED:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        former = module.__name__.partition(".")[2]

        def get(name: str) -> Any:
            places = [f"{place}.{name}" for place in MOVED[former].split()]
            renamed = RENAMED.get(f"{former}.{name}")
            for full in [renamed] if renamed else places:
                place, _, now = f"{__package__}.{full}".rpartition(".")
                found = importlib.import_module(place)
                if hasattr(found, now) and not name.startswith("__"):
                    warnings.warn(
                        f"{module.__name__}.{name} is deprecated: import {now} from "
                        f"{place}",
                        DeprecationWarning,
                        stacklevel=2,
                    )
                    return getattr(found, now)
            raise AttributeError(
                f"module {module.__name__!r} has no attribute {name!r}"
            )

        module.__getattr__ = get


def install() -> None:
    """Makes the former names importable; called once by the package."""
    sys.meta_path.append(_FormerModules())
