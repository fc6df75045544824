"""The linear operators of a layer: how they are represented, and how they are made from samples."""

from redunet._registry import Kinds, Registry
from redunet.layers.operators.base import DenseExpansion, OperatorMatrices, Operators, Responses
from redunet.layers.operators.dense import DenseOperators
from redunet.layers.operators.exact import Exact, exact_moments
from redunet.layers.operators.kind import Collect, OperatorKind
from redunet.layers.operators.low_rank import LowRankOperators
from redunet.layers.operators.moments import DatasetInfo, SecondMoments, TotalMoment
from redunet.layers.operators.variational import Variational

OPERATOR_KINDS: Registry[OperatorKind] = Registry(
    OperatorKind, "operators", {"exact": Exact, "variational": Variational}
)
REPRESENTATIONS: Kinds[Operators] = Kinds(
    Operators, "representation", {"dense": DenseOperators, "low rank": LowRankOperators}
)

__all__ = [
    "OPERATOR_KINDS",
    "REPRESENTATIONS",
    "Collect",
    "DatasetInfo",
    "DenseExpansion",
    "DenseOperators",
    "Exact",
    "LowRankOperators",
    "OperatorKind",
    "OperatorMatrices",
    "Operators",
    "Responses",
    "SecondMoments",
    "TotalMoment",
    "Variational",
    "exact_moments",
]
