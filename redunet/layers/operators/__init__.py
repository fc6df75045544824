"""The linear operators of a layer: their representations, and their computation from samples."""

from redunet._registry import Registry
from redunet.layers.operators.dense import DenseOperator
from redunet.layers.operators.dictionary import DictionaryOperator
from redunet.layers.operators.exact import Exact, Extensible
from redunet.layers.operators.kind import OperatorKind
from redunet.layers.operators.low_rank import LowRankOperator
from redunet.layers.operators.operator import Operator
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
REPRESENTATIONS: Registry[Operator] = Registry(
    Operator,
    "representation",
    {"dense": DenseOperator, "dictionary": DictionaryOperator, "low rank": LowRankOperator},
)
