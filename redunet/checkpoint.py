"""A construction in a folder, layer by layer, so that an interrupted one can go on.

Every finished layer has a folder of its own: its operators, the history up to it, and the features
after it, which go as soon as those of the next layer are there. A folder is written under another
name and renamed when it is whole, so that whatever the moment of an interruption, the last complete
folder is where to go on.
"""

import json
import math
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redunet import storage
from redunet.construction import Samples
from redunet.features import Features, read_array, write_array
from redunet.layer import ReduLayer
from redunet.processes import Processes

if TYPE_CHECKING:
    from redunet.construction import Construction

OPERATORS = "operators.safetensors"
STATE = "state.json"

# Settings in which a continued construction may differ from the interrupted one.
FREE = ("num_layers", "tol")


class Checkpoint:
    """Finished layers in a folder.

    Parameters
    ----------
    folder : str or path
        Made if it is not there.
    processes : Processes
        With which the construction is shared; each has a folder inside of its own.
    """

    def __init__(self, folder: str | os.PathLike[str], processes: Processes):
        self._processes = processes
        own = f"process-{processes.rank}-of-{processes.size}" if processes.size > 1 else "."
        self._folder = Path(folder) / own
        self._folder.mkdir(parents=True, exist_ok=True)

    def save(self, construction: "Construction") -> None:
        """Add the construction's last layer."""
        number = len(construction.layers)
        final = self._of_layer(number)
        unfinished = final.with_suffix(".unfinished")
        for leftover in (unfinished, final):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished.mkdir()
        storage.write_tensors(construction.layers[-1], unfinished / OPERATORS)
        for name, (samples, attribute) in _all_features(construction).items():
            for batch, V in enumerate(getattr(samples, attribute)):
                write_array(unfinished / f"{name}-{batch:06d}.npy", V)
        state = _description(construction) | {
            "momentum": construction.layers[-1].momentum,
            "rank": construction.layers[-1].operators.rank,
            "history": storage.history_to_json(construction.history),
        }
        (unfinished / STATE).write_text(json.dumps(state))
        unfinished.rename(final)
        # Not before all processes have this layer can none of them fall back to the last.
        self._processes.exchange(number)
        for file in self._folder.glob("layer-*/*.npy"):
            if file.parent != final:
                file.unlink()

    def restore(self, construction: "Construction") -> None:
        """Put the finished layers, and the samples after them, into a construction at its start.

        Raises
        ------
        ValueError
            If the folder's layers were made with other samples or settings.
        """
        number = min(self._processes.exchange(self._last_layer()))
        if number == 0:
            return
        states = [self._read_state(i) for i in range(1, number + 1)]
        _check_same(construction, states[-1], self._folder)
        # All layers asked for may be there already; features then are needed no more.
        needed = min(number, construction.settings.num_layers)
        construction.layers = [
            self._read_layer(i, states[i - 1], construction) for i in range(1, needed + 1)
        ]
        construction.history = storage.history_from_json(states[needed - 1]["history"])
        if needed == number:
            for name, (samples, attribute) in _all_features(construction).items():
                features = self._read_features(name, number, samples.current)
                setattr(samples, attribute, features)

    def _of_layer(self, number: int) -> Path:
        return self._folder / f"layer-{number:05d}"

    def _last_layer(self) -> int:
        found = (int(f.name.removeprefix("layer-")) for f in self._folder.glob("layer-?????"))
        return max(found, default=0)

    def _read_state(self, number: int) -> dict[str, Any]:
        return json.loads((self._of_layer(number) / STATE).read_text())

    def _read_layer(
        self, number: int, state: dict[str, Any], construction: "Construction"
    ) -> ReduLayer:
        population = construction.population
        layer = storage.empty_layer(
            construction.settings,
            population.spectrum,
            population.channels,
            len(population.counts),
            population.dtype.to_real(),
            state["rank"],
            state["momentum"],
        )
        storage.read_tensors(layer, self._of_layer(number) / OPERATORS)
        return layer.to("cpu" if construction.offload else population.counts.device)

    def _read_features(self, name: str, number: int, like: Features) -> Features:
        features = Features(like.device, like.home)
        for file in sorted(self._of_layer(number).glob(f"{name}-*.npy")):
            features.append(read_array(file))
        return features


def _all_features(construction: "Construction") -> dict[str, tuple[Samples, str]]:
    """Every kind of features that a construction moves along, and where it has them."""
    samples = {"training": construction.samples}
    if construction.validation:
        samples["validation"] = construction.validation[1]
    attributes = ["current", "previous"] if construction.settings.momentum else ["current"]
    return {
        f"{name}-{attribute}": (owner, attribute)
        for name, owner in samples.items()
        for attribute in attributes
    }


def _description(construction: "Construction") -> dict[str, Any]:
    """What must be the same for a construction to go on: settings, samples, and their batches."""
    settings = {k: v for k, v in asdict(construction.settings).items() if k not in FREE}
    return {
        "settings": settings | {"lam": str(construction.settings.lam)},
        "features": [construction.population.channels, *construction.population.spectrum.shape],
        "dtype": str(construction.population.dtype),
        "class counts": construction.population.counts.tolist(),
        "batches": [len(p) for p in construction.samples.partitions],
        "validation": [len(p) for p in construction.validation[1].partitions]
        if construction.validation
        else None,
    }


def _check_same(construction: "Construction", state: dict[str, Any], folder: Path) -> None:
    for name, expected in _description(construction).items():
        if state[name] != expected:
            raise ValueError(
                f"{folder} holds another construction: {name} {state[name]}, expected {expected}"
            )
    found, expected = state["history"]["expansion"][0], construction.history.expansion[0]
    if not math.isclose(found, expected, rel_tol=1e-4):
        raise ValueError(
            f"{folder} holds another construction: samples of coding rate {found:.6g}, "
            f"expected {expected:.6g}"
        )
