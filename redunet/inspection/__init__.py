"""Inspection of networks: explanations, summaries, reports and plots."""

from redunet.inspection.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
