"""The torch device "sim": a simulated accelerator, which is compiled on first use."""

import hashlib
import os
import shutil
import subprocess
import types
from functools import cache
from pathlib import Path

import torch
from torch.utils import cpp_extension

SOURCE = Path(__file__).with_suffix(".cpp")
BUILD = Path(__file__).parents[2] / "build" / "simulated"
COMPILER = os.environ.get("CXX", "g++")


def can_be_compiled() -> bool:
    """Whether there is a compiler, or the device was compiled before."""
    return shutil.which(COMPILER) is not None or _library().exists()


@cache
def load() -> torch.device:
    """Compile the device, unless that was done before, and register it.

    Gradients on it need that no backward pass ran before in this process.
    """
    library = _library()
    if not library.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        own = library.with_suffix(f".{os.getpid()}")  # another process may compile as well
        headers = [f"-I{folder}" for folder in cpp_extension.include_paths()]
        libraries = [f"-L{folder}" for folder in cpp_extension.library_paths()]
        flags = ["-std=c++20", "-O1", "-w", "-shared", "-fPIC", *headers]
        command = [COMPILER, *flags, str(SOURCE), "-o", str(own)]
        subprocess.run([*command, *libraries, "-lc10", "-ltorch_cpu"], check=True)
        own.replace(library)
    torch.ops.load_library(library)
    torch.utils.rename_privateuse1_backend("sim")
    torch._register_device_module("sim", _module())
    torch.utils.generate_methods_for_privateuse1_backend()
    return torch.device("sim")


def _library() -> Path:
    """The compiled file for this source and this torch."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    return BUILD / f"{digest}-{torch.__version__}.so"


def _module() -> types.ModuleType:
    """What torch asks of ``torch.sim``. Random numbers are those of the CPU."""
    module = types.ModuleType("torch.sim")
    module.is_available = module.is_initialized = lambda: True
    module.device_count = lambda: 1
    module.current_device = lambda: 0
    module.set_device = module.synchronize = lambda device=None: None
    module.manual_seed = module.manual_seed_all = lambda seed: None
    module._is_in_bad_fork = lambda: False
    module._lazy_init = lambda: None
    module.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]
    module.get_rng_state = lambda device=None: torch.get_rng_state()
    module.set_rng_state = lambda state, device=None: None
    return module
