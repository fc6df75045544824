"""The command line, which constructs, evaluates, plots and exports networks, and predicts.

Data are tables such as ``.csv`` files, ``.ts`` files of time series, ``.npz`` files with samples
``X`` and labels ``y``, or folders that contain one folder of images per class. Results go to
standard output, as JSON with ``--json``. Progress, warnings and errors go to standard error.

Modules that take long to load, such as torch, are loaded when a command runs. Help, and errors
about arguments, files and folders, come at once.
"""

from redunet.cli.program import main

__all__ = ["main"]
