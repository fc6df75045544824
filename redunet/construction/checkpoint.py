"""The state of a construction in a folder, so that an interrupted construction can be resumed.

Every finished layer has a folder of its own. It holds the operators, the history up to the layer,
and the features after the layer; these features are deleted as soon as those of the next layer are
saved. A folder is written under another name and renamed when it is complete. Whatever the moment
of an interruption, the construction can therefore resume from the last complete folder.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch

from redunet._processes import Processes
from redunet.construction.feature_store import FeatureStore, read_array, write_array
from redunet.construction.history import RateHistory
from redunet.construction.state import ConstructionState
from redunet.files.atomic import atomic_folder
from redunet.files.identity import Identity, check_identity
from redunet.files.tensors import read_module, write_module
from redunet.layers import ReduLayer
from redunet.rates import HalfSpectrum

OPERATORS = "operators.safetensors"
STATE = "state.json"


class FolderCheckpoint:
    """Finished layers of a construction, in a folder.

    Parameters
    ----------
    folder : str or path
        Folder of the checkpoint. It is created if it does not exist.
    processes : Processes
        The processes that share the construction. If there are several, each has its own subfolder.
    identity : dict
        What the construction belongs to, the same on all processes.
    num_layers : int
        Number of layers that the construction asks for. Layers beyond it are not loaded.
    spectrum : HalfSpectrum
        Transform of the layers.
    device : torch.device
        Device of the features.
    layer_device : torch.device
        Device of the layers.
    home : torch.device or Path
        Storage of the features; see :class:`FeatureStore`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        processes: Processes,
        identity: Identity,
        *,
        num_layers: int,
        spectrum: HalfSpectrum,
        device: torch.device,
        layer_device: torch.device,
        home: torch.device | Path,
    ):
        self._processes, self._identity = processes, identity
        self._num_layers = num_layers
        # Layers in host memory share a spectrum there; the construction has one on its device.
        same = layer_device == spectrum.weights.device
        self._spectrum = spectrum if same else HalfSpectrum(spectrum.shape)
        self._device = device
        self._layer_device = layer_device
        self._home = home
        own = f"process-{processes.rank}-of-{processes.size}" if processes.size > 1 else "."
        self._folder = Path(folder) / own
        self._folder.mkdir(parents=True, exist_ok=True)

    def save(self, state: ConstructionState) -> None:
        """Save the last layer of a state, and the features after it."""
        number = len(state.layers)
        final = self._of_layer(number)
        values = {
            "identity": self._identity,
            "layer": state.layers[-1].describe(),
            "history": state.history.to_json(),
            "features": sorted(state.features),
        }
        with atomic_folder(final) as folder:
            write_module(state.layers[-1], folder / OPERATORS)
            for name, features in state.features.items():
                for batch, V in enumerate(features):
                    write_array(folder / f"{name}-{batch:06d}.npy", V)
            (folder / STATE).write_text(json.dumps(values))
        # Wait until every process has saved this layer. Until then, processes may have to resume
        # from the layer before, and need its features.
        self._processes.all_gather_object(number)
        for file in self._folder.glob("layer-*/*.npy"):
            if file.parent != final:
                file.unlink()

    def load(self) -> ConstructionState | None:
        """The state after the last layer that every process has saved; None if there is none.

        Raises
        ------
        ValueError
            If it belongs to another construction.
        """
        last = min(self._processes.all_gather_object(self._last_layer()))
        number = min(last, self._num_layers)
        if number == 0:
            return None
        states = [self._read_state(i) for i in range(1, number + 1)]
        stored = states[-1]["identity"]
        check_identity(stored, self._identity, "construction", self._folder, self._processes)
        return ConstructionState(
            [self._read_layer(i, state["layer"]) for i, state in enumerate(states, 1)],
            RateHistory.from_json(states[-1]["history"]),
            # Features exist for the last layer only. With fewer layers they are not needed.
            {name: self._read_features(number, name) for name in states[-1]["features"]}
            if number == last
            else {},
        )

    def _of_layer(self, number: int) -> Path:
        return self._folder / f"layer-{number:05d}"

    def _last_layer(self) -> int:
        numbers = (int(f.name.removeprefix("layer-")) for f in self._folder.glob("layer-?????"))
        return max(numbers, default=0)

    def _read_state(self, number: int) -> dict[str, Any]:
        values: dict[str, Any] = json.loads((self._of_layer(number) / STATE).read_text())
        return values

    def _read_layer(self, number: int, description: dict[str, Any]) -> ReduLayer:
        layer = ReduLayer.empty(description, self._spectrum)
        read_module(layer, self._of_layer(number) / OPERATORS)
        return layer.to(self._layer_device)

    def _read_features(self, number: int, name: str) -> FeatureStore:
        features = FeatureStore(self._device, self._home)
        for file in sorted(self._of_layer(number).glob(f"{name}-*.npy")):
            features.append(read_array(file))
        return features
