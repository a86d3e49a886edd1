"""`check_score`: does a user's score function keep what attention promises with it.

Each check is one function in one of these files, and one line in `catalogue`.
"""

from attention_jax.score_checking.catalogue import CHECKS, check_names
from attention_jax.score_checking.report import CheckResult, ScoreReport
from attention_jax.score_checking.runner import check_score

__all__ = ["CHECKS", "CheckResult", "ScoreReport", "check_names", "check_score"]
