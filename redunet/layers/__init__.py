"""Layers of a network: their operators, their memberships, and the step that they take."""

from redunet.layers.layer import ReduLayer
from redunet.layers.membership import MEMBERSHIPS, Membership, Rectified, Softmax
from redunet.layers.operators import OPERATOR_KINDS, REPRESENTATIONS
from redunet.layers.operators.dense import DenseOperator
from redunet.layers.operators.dictionary import DictionaryOperator
from redunet.layers.operators.exact import Exact, Extensible
from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.low_rank import LowRankOperator
from redunet.layers.operators.moments import (
    DatasetInfo,
    Moments,
    SecondMoments,
    SummedMoments,
    TotalMoment,
)
from redunet.layers.operators.operator import Operator, Operators, real_form
from redunet.layers.operators.responses import ALL
from redunet.layers.operators.shared_dictionary import SharedDictionary
from redunet.layers.operators.variational import Variational
from redunet.layers.reader import READERS, Reader

__all__ = [
    "ALL",
    "MEMBERSHIPS",
    "OPERATOR_KINDS",
    "READERS",
    "REPRESENTATIONS",
    "DatasetInfo",
    "DenseOperator",
    "DictionaryOperator",
    "Exact",
    "Extensible",
    "LowRankOperator",
    "Membership",
    "Moments",
    "Operator",
    "OperatorKind",
    "Operators",
    "Reader",
    "Rectified",
    "ReduLayer",
    "SecondMoments",
    "SharedDictionary",
    "Softmax",
    "SummedMoments",
    "TotalMoment",
    "Variational",
    "real_form",
]
