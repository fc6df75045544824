"""Inspection of networks: explanations, summaries, reports and plots."""

from redunet.inspection.decision import Decision
from redunet.inspection.explanation import Explanation, explain

__all__ = ["Decision", "Explanation", "explain"]
