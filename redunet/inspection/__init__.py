"""Ways to look into a network: explanations, summaries, reports, and pictures."""

from redunet.inspection.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
