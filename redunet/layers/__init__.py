"""Layers of a network: their operators, their memberships, and the step that they take."""

from redunet.layers.layer import ReduLayer
from redunet.layers.membership import MEMBERSHIPS, Membership, Rectified, Softmax
from redunet.layers.operators import (
    ALL,
    OPERATOR_KINDS,
    REPRESENTATIONS,
    BlockDiagonal,
    BlockDiagonalOperators,
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
    real_form,
)

__all__ = [
    "ALL",
    "MEMBERSHIPS",
    "OPERATOR_KINDS",
    "REPRESENTATIONS",
    "BlockDiagonal",
    "BlockDiagonalOperators",
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
    "real_form",
]
