"""A layer of a network: its operators, its memberships, and the step that it takes."""

from redunet.layers.layer import ReduLayer
from redunet.layers.membership import MEMBERSHIPS, Membership, Rectified, Softmax
from redunet.layers.operators import (
    OPERATOR_KINDS,
    REPRESENTATIONS,
    DatasetInfo,
    DenseExpansion,
    DenseOperators,
    Exact,
    LowRankOperators,
    OperatorKind,
    Operators,
    SecondMoments,
    TotalMoment,
    Variational,
)

__all__ = [
    "MEMBERSHIPS",
    "OPERATOR_KINDS",
    "REPRESENTATIONS",
    "DatasetInfo",
    "DenseExpansion",
    "DenseOperators",
    "Exact",
    "LowRankOperators",
    "Membership",
    "OperatorKind",
    "Operators",
    "Rectified",
    "ReduLayer",
    "SecondMoments",
    "Softmax",
    "TotalMoment",
    "Variational",
]
