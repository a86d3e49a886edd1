"""A run as one HTML page that opens anywhere: what it scores, how it learnt, where it looks."""

from attention_jax.evaluation.html_report.collection import collect
from attention_jax.evaluation.html_report.rendering import render
from attention_jax.evaluation.html_report.report_data import ReportData

__all__ = ["ReportData", "collect", "render"]
