"""The state of a construction in a folder, so that an interrupted construction can be resumed.

Every finished layer has a folder of its own. It holds the layer, the history up to the layer, and
the features after the layer; these features are deleted as soon as those of the next layer are
saved. A folder is written under another name and renamed when it is complete. Whatever the moment
of an interruption, the construction can therefore resume from the last complete folder.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TypeAlias

import numpy as np
from torch import nn

from redunet._version import __version__
from redunet.construction.construction import Construction
from redunet.construction.features import FeatureStore, read_array, write_array
from redunet.construction.history import RateHistory
from redunet.files.atomic import atomic_folder
from redunet.files.digest import Digest
from redunet.files.tensors import as_text, read_tensors, write_tensors
from redunet.layers import ReduLayer
from redunet.lifts import lift_to_json
from redunet.rates import HalfSpectrum

# The file of a layer, and the key of its header.
LAYER, KEY = "layer.safetensors", "redunet checkpoint"

# The name of the memberships of all samples in it, if some labels are not known.
MEMBERSHIP = "training.membership"

# What a checkpoint belongs to; see :func:`identity_of`.
Identity: TypeAlias = dict[str, object]

# Longer settings, such as the sizes of many batches, are cut in messages.
LONGEST = 500

ORDER = (
    "The samples must also come in the same order: a DataLoader needs shuffle=False, or a "
    "generator with a seed. "
)


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
        validation = construction.validation
        self._sets = {"training": construction.samples}
        self._sets |= {} if validation is None else {"validation": validation}
        own = f"process-{processes.rank}-of-{processes.size}" if processes.size > 1 else "."
        self._folder = Path(folder) / own
        self._folder.mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Save the last layer, and the features after it."""
        layers, samples = self._construction.layers, self._construction.samples
        final, tensors = self._folder_of(len(layers)), layers[-1].state_dict()
        if samples.known is not None:
            tensors[MEMBERSHIP] = samples.partition.membership
        header = {
            "identity": self._identity,
            "layer": layers[-1].describe(),
            "history": asdict(self._construction.history),
        }
        with atomic_folder(final) as folder:
            write_tensors(tensors, folder / LAYER, KEY, header)
            for name, each in self._sets.items():
                for number, V in enumerate(each.current):
                    write_array(folder / f"{name}-current-{number:06d}.npy", V)
                for number, V in enumerate(each.previous or ()):
                    write_array(folder / f"{name}-previous-{number:06d}.npy", V)
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
        construction, samples = self._construction, self._construction.samples
        last = min(self._processes.all_gather_object(self._last_layer()))
        number = min(last, construction.settings.num_layers or last)
        if number == 0:
            return
        stored = [
            read_tensors(self._folder_of(i) / LAYER, KEY, "a layer of a checkpoint")
            for i in range(1, number + 1)
        ]
        header, tensors = stored[-1]
        self._check_identity(header["identity"])
        history = RateHistory.from_json(header["history"])
        # The first rates show what a digest of samples does not: a lift whose code has changed.
        both = history, construction.history
        before, now = ([float(h.expansion[0]), float(h.compression[0])] for h in both)
        if not np.allclose(before, now, rtol=1e-4, atol=0):
            raise ValueError(
                "the checkpoint belongs to other features: their rates before the first layer were "
                f"[R, R_c] = {before}, and are {now}; has the code of the lift changed?"
            )
        if samples.known is not None:
            samples.assign(tensors[MEMBERSHIP].to(samples.known.device))
        spectrum = samples.info.spectrum
        if construction.offload:  # layers in host memory share a spectrum there
            spectrum = HalfSpectrum(spectrum.shape)
        construction.layers = [
            ReduLayer.restored(header["layer"], tensors, spectrum).to(spectrum.weights.device)
            for header, tensors in stored
        ]
        construction.history = history
        if construction.is_finished():  # only the last layer of all has features
            return
        for name, each in self._sets.items():
            each.current = self._read_features(number, f"{name}-current")
            if each.keeps_previous:
                each.previous = self._read_features(number, f"{name}-previous")
        construction.moments = construction.gather()

    def _check_identity(self, stored: Identity) -> None:
        """Raise ValueError on all processes unless the checkpoint belongs to this construction."""
        own, differences = self._identity, []
        for name in stored | own:
            if stored.get(name) != own.get(name):
                before, now = (shorten(str(each.get(name)), LONGEST) for each in (stored, own))
                are_digests = "sha256:" in before + now
                differences.append(
                    f"{name} {'differ' if are_digests else f'is {before}, expected {now}'}"
                )
        found = next(filter(None, self._processes.all_gather_object(differences)), None)
        if found:
            order = ORDER if any("samples differ" in each for each in found) else ""
            raise ValueError(
                f"{self._folder} belongs to another construction: {'; '.join(found)}. {order}To "
                "begin again, choose another checkpoint or delete this one"
            )

    def _folder_of(self, number: int) -> Path:
        return self._folder / f"layer-{number:05d}"

    def _last_layer(self) -> int:
        numbers = (int(f.name.removeprefix("layer-")) for f in self._folder.glob("layer-?????"))
        return max(numbers, default=0)

    def _read_features(self, number: int, name: str) -> FeatureStore:
        current = self._construction.samples.current
        features = FeatureStore(current.device, current.home)
        for file in sorted(self._folder_of(number).glob(f"{name}-*.npy")):
            features.append(read_array(file))
        return features


def identity_of(construction: Construction, lift: nn.Module | None) -> Identity:
    """What a checkpoint belongs to, under names that can stand in a sentence.

    Settings and sizes are as JSON gives them, samples and tensors are digests. The number of layers
    and ``tol`` may change.
    """
    samples, info = construction.samples, construction.samples.info
    identity = construction.settings.to_json() | {
        "the version of redunet": __version__,
        "the shape of features": [info.channels, *info.spectrum.shape],
        "the type of features": str(info.dtype),
        "the list of batch sizes": samples.current.sizes,
        "the list of classes": samples.partition.classes,
        "the lift": lift_to_json(lift),
        "the list of settings in the lift": [  # of modules whose arguments are not known
            [name, key, value]
            for name, part in (lift.named_modules() if lift else ())
            for key, value in vars(part).items()
            if key[0] != "_" and isinstance(value, bool | int | float | str)
        ],
        "the tensors of the lift": str(Digest(*(lift.state_dict().values() if lift else ()))),
    }
    del identity["num_layers"], identity["tol"]
    identity["the samples"], identity["the labels"] = samples.digests
    if construction.validation is not None:
        held_out = construction.validation.digests
        identity["the validation samples"], identity["the validation labels"] = held_out
    stored: Identity = json.loads(as_text(identity))
    return stored
