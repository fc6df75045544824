"""Error messages that say where the modules of version 0.1 are now."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "redunet.checks": "redunet._checks",
    "redunet.checkpoint": "redunet.construction.checkpoint",
    "redunet.classify": "redunet.estimators",
    "redunet.cluster": "redunet.estimators",
    "redunet.convolutional": "redunet.training",
    "redunet.covariance": "redunet.rates.covariance",
    "redunet.estimator": "redunet.estimators",
    "redunet.explain": "redunet.inspection",
    "redunet.export": "redunet.files.exporting",
    "redunet.features": "redunet.construction.feature_store",
    "redunet.finetune": "redunet.training",
    "redunet.heads": "redunet.training",
    "redunet.layer": "redunet.layers",
    "redunet.lifting": "redunet.lifts",
    "redunet.losses": "redunet.training",
    "redunet.membership": "redunet.layers",
    "redunet.meter": "redunet.rates",
    "redunet.operators": "redunet.layers",
    "redunet.partition": "redunet.rates",
    "redunet.processes": "redunet._processes",
    "redunet.report": "redunet.inspection.html_report",
    "redunet.sources": "redunet.construction.sources",
    "redunet.spectrum": "redunet.rates",
    "redunet.statistics": "redunet.layers.operators.moments",
    "redunet.storage": "redunet.files.tensors",
    "redunet.summary": "redunet.inspection.summary",
    "redunet.variational": "redunet.training.dictionary",
}


def explain(name: str) -> str | None:
    """A message that says where a module is now. None if it has not moved."""
    return f"{name} has moved to {MOVED[name]}; see CHANGELOG.md" if name in MOVED else None


def install() -> None:
    """Make imports of moved modules fail with this message."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())


class _MovedModules(MetaPathFinder):
    """The last finder. Python asks it if no other finder knows a module."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if message := explain(name):
            raise ModuleNotFoundError(message, name=name)
        return None
