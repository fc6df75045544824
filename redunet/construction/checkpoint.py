"""The state of a construction in a folder, so that an interrupted construction can be resumed.

Every finished layer has a folder of its own. It holds the operators, the history up to the layer,
and the features after the layer; these features are deleted as soon as those of the next layer are
saved. A folder is written under another name and renamed when it is complete. Whatever the moment
of an interruption, the construction can therefore resume from the last complete folder.
"""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor, nn

from redunet.construction.construction import Construction
from redunet.construction.features import FeatureStore, LabelledFeatures, read_array, write_array
from redunet.construction.history import RateFields, RateHistory
from redunet.files.atomic import atomic_folder
from redunet.files.identity import (
    VERSION,
    Identity,
    check_identity,
    combined,
    digest_of,
    settings_of,
)
from redunet.files.tensors import as_text, read_tensors, write_tensors
from redunet.layers import ReduLayer
from redunet.layers.layer import LayerFields
from redunet.rates import HalfSpectrum

OPERATORS = "operators.safetensors"
STATE = "state.json"
KEY = "redunet checkpoint"


class State(TypedDict):
    """What the folder of a layer says about it."""

    identity: Identity
    layer: LayerFields
    history: RateFields
    features: list[str]


class FolderCheckpoint:
    """Finished layers of a construction, in a folder.

    Parameters
    ----------
    folder : str or path
        Folder of the checkpoint. It is created if it does not exist. If several processes share the
        construction, each has its own subfolder.
    construction : Construction
    lift : nn.Module or None
        The lift that made the features.
    """

    def __init__(
        self, folder: str | os.PathLike[str], construction: Construction, lift: nn.Module | None
    ):
        self._construction = construction
        self._processes = processes = construction.samples.info.processes
        self._identity = identity_of(construction, lift)
        own = f"process-{processes.rank}-of-{processes.size}" if processes.size > 1 else "."
        self._folder = Path(folder) / own
        self._folder.mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Save the last layer, and the features after it."""
        layers, features = self._construction.layers, self._features()
        final = self._folder_of(len(layers))
        values: State = {
            "identity": self._identity,
            "layer": layers[-1].describe(),
            "history": self._construction.history.to_json(),
            "features": sorted(features),
        }
        with atomic_folder(final) as folder:
            write_tensors(layers[-1].state_dict(), folder / OPERATORS, KEY, {})
            for name, batches in features.items():
                for number, V in enumerate(batches):
                    write_array(folder / f"{name}-{number:06d}.npy", V)
            (folder / STATE).write_text(as_text(values))
        # Wait until every process has saved this layer. Until then, processes may have to resume
        # from the layer before, and need its features.
        self._processes.all_gather_object(len(layers))
        for file in self._folder.glob("layer-*/*.npy"):
            if file.parent != final:
                file.unlink()

    def restore(self) -> None:
        """Continue after the last layer that every process has saved, if there is one.

        Raises
        ------
        ValueError
            If the folder belongs to another construction.
        """
        construction = self._construction
        last = min(self._processes.all_gather_object(self._last_layer()))
        number = min(last, construction.settings.num_layers or last)
        if number == 0:
            return
        states = [self._read_state(i) for i in range(1, number + 1)]
        stored = states[-1]["identity"]
        check_identity(stored, self._identity, "construction", self._folder, self._processes)
        history = RateHistory.from_json(states[-1]["history"])
        check_rates(history, construction.history)
        spectrum = construction.samples.info.spectrum
        if construction.offload:  # layers in host memory share a spectrum there
            spectrum = HalfSpectrum(spectrum.shape)
        construction.layers = [
            self._read_layer(i, state["layer"], spectrum) for i, state in enumerate(states, 1)
        ]
        construction.history = history
        # Features exist for the last layer only. With fewer layers they are not needed.
        names = states[-1]["features"] if number == last else []
        self._restore_features({name: self._read_features(number, name) for name in names})

    def _features(self) -> dict[str, Iterable[Tensor]]:
        """Everything that is needed to continue, in batches."""
        features: dict[str, Iterable[Tensor]] = {}
        for name, samples in self._sets().items():
            features[f"{name}-current"] = samples.current
            if samples.previous is not None:
                features[f"{name}-previous"] = samples.previous
        samples = self._construction.samples
        if samples.known is not None:
            features["training-membership"] = (each.membership for each in samples.partitions)
        return features

    def _restore_features(self, features: dict[str, FeatureStore]) -> None:
        construction = self._construction
        if construction.samples.known is not None:
            if "training-membership" not in features:
                raise ValueError(
                    f"the checkpoint holds more than {len(construction.layers)} layer(s), and "
                    "memberships of samples without labels only after the last one: ask for more "
                    "layers"
                )
            membership = torch.cat(list(features["training-membership"]))
            construction.samples.assign(membership)
        if construction.is_finished():
            return
        for name, samples in self._sets().items():
            samples.current = features[f"{name}-current"]
            samples.previous = features.get(f"{name}-previous")
        construction.moments = construction.gather()

    def _sets(self) -> dict[str, LabelledFeatures]:
        validation = self._construction.validation
        held_out = {} if validation is None else {"validation": validation}
        return {"training": self._construction.samples, **held_out}

    def _folder_of(self, number: int) -> Path:
        return self._folder / f"layer-{number:05d}"

    def _last_layer(self) -> int:
        numbers = (int(f.name.removeprefix("layer-")) for f in self._folder.glob("layer-?????"))
        return max(numbers, default=0)

    def _read_state(self, number: int) -> State:
        values: State = json.loads((self._folder_of(number) / STATE).read_text())
        return values

    def _read_layer(
        self, number: int, description: LayerFields, spectrum: HalfSpectrum
    ) -> ReduLayer:
        _, tensors = read_tensors(self._folder_of(number) / OPERATORS, KEY, "a layer")
        return ReduLayer.restored(description, tensors, spectrum).to(spectrum.weights.device)

    def _read_features(self, number: int, name: str) -> FeatureStore:
        current = self._construction.samples.current
        features = FeatureStore(current.device, current.home)
        for file in sorted(self._folder_of(number).glob(f"{name}-*.npy")):
            features.append(read_array(file))
        return features


def check_rates(stored: RateHistory, own: RateHistory) -> None:
    """Raise ValueError unless the first rates of a history are those of the samples.

    They show what a digest of samples does not: a lift whose code has changed.
    """
    for name in ("expansion", "compression"):
        before, now = (float(getattr(history, name)[0]) for history in (stored, own))
        if not math.isclose(before, now, rel_tol=1e-4):
            raise ValueError(
                f"the checkpoint belongs to other features: their {name} rate was {before:.6g} "
                f"before the first layer, and is {now:.6g}; has the code of the lift changed?"
            )


def identity_of(construction: Construction, lift: nn.Module | None) -> Identity:
    """What a checkpoint belongs to. The number of layers and ``tol`` may change."""
    samples, info = construction.samples, construction.samples.info
    identity = VERSION | construction.settings.to_json()
    del identity["num_layers"], identity["tol"]
    identity |= {
        "the shape of features": [info.channels, *info.spectrum.shape],
        "the type of features": str(info.dtype),
        "the list of batch sizes": samples.current.sizes,
        "the list of classes": samples.partition.classes.tolist(),
    }
    if lift is not None:
        tensors = digest_of(lift.state_dict())
        identity |= {"the lift": settings_of(lift), "the tensors of the lift": tensors}
    identity["the samples"], identity["the labels"] = samples.digests
    if construction.validation is not None:
        held_out = construction.validation.digests
        identity["the validation samples"], identity["the validation labels"] = held_out
    return combined(identity, info.processes)
