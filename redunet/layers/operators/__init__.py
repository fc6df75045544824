"""The linear operators of a layer: their representations, and their computation from samples."""

from redunet._registry import Kinds, Registry
from redunet.layers.operators.base import (
    ALL,
    DenseExpansion,
    OperatorMatrices,
    Operators,
    Responses,
    real_form,
)
from redunet.layers.operators.dense import DenseOperators
from redunet.layers.operators.dictionary import SharedDictionaryOperators
from redunet.layers.operators.exact import Exact, exact_moments
from redunet.layers.operators.extensible import Extensible, ExtensibleOperators
from redunet.layers.operators.few_samples import FewSamplesOperators
from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.low_rank import LowRankOperators
from redunet.layers.operators.moments import DatasetInfo, SecondMoments, TotalMoment
from redunet.layers.operators.shared_dictionary import SharedDictionary
from redunet.layers.operators.variational import Variational

OPERATOR_KINDS: Registry[OperatorKind] = Registry(
    OperatorKind,
    "operators",
    {
        "exact": Exact,
        "extensible": Extensible,
        "shared dictionary": SharedDictionary,
        "variational": Variational,
    },
)
REPRESENTATIONS: Kinds[Operators] = Kinds(
    Operators,
    "representation",
    {
        "dense": DenseOperators,
        "extensible": ExtensibleOperators,
        "few samples": FewSamplesOperators,
        "low rank": LowRankOperators,
        "shared dictionary": SharedDictionaryOperators,
    },
)

__all__ = [
    "ALL",
    "OPERATOR_KINDS",
    "REPRESENTATIONS",
    "DatasetInfo",
    "DenseExpansion",
    "DenseOperators",
    "Exact",
    "Extensible",
    "ExtensibleOperators",
    "FewSamplesOperators",
    "LowRankOperators",
    "OperatorKind",
    "OperatorMatrices",
    "Operators",
    "Responses",
    "SecondMoments",
    "SharedDictionary",
    "SharedDictionaryOperators",
    "TotalMoment",
    "Variational",
    "exact_moments",
    "real_form",
]
