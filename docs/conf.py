"""How Sphinx builds the documentation: ``make docs``."""

import os
import re
import sys
from pathlib import Path

from sphinx.errors import ExtensionError

import redunet

os.environ["TQDM_DISABLE"] = "1"
sys.path.insert(0, str(Path(__file__).parent))  # for _lessons

project = "redunet"
author = "redunet contributors"
version = release = redunet.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

html_static_path = ["_static"]
html_css_files = ["wide.css"]
# The pages carry MathJax 3.2.2, so that formulas can be read without a network.
mathjax_path = "mathjax/tex-svg.js"

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # docstrings say them in words
autodoc_default_options = {"members": True, "show-inheritance": False}
autosummary_generate = True
napoleon_google_docstring = False
napoleon_use_rtype = False

# The pages of other projects that ours link to. The inventories are small text files, so that a
# build needs no network: each line has a name, its kind, and its page.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "_inventories/python.inv"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "_inventories/torch.inv"),
    "numpy": ("https://numpy.org/doc/stable/", "_inventories/numpy.inv"),
    "sklearn": ("https://scikit-learn.org/stable/", "_inventories/sklearn.inv"),
    "matplotlib": ("https://matplotlib.org/stable/", "_inventories/matplotlib.inv"),
}

# Words in the types of parameters that become links.
TYPES = {
    "Tensor": "torch.Tensor",
    "nn.Module": "torch.nn.Module",
    "torch.device": "torch.device",
    "torch.dtype": "torch.dtype",
    "torch.optim.Optimizer": "torch.optim.Optimizer",
    "DataLoader": "torch.utils.data.DataLoader",
    "Dataset": "torch.utils.data.Dataset",
    "numpy array": "numpy.ndarray",
    "matplotlib Axes": "matplotlib.axes.Axes",
    "matplotlib Figure": "matplotlib.figure.Figure",
    "Path": "pathlib.Path",
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib", "_lessons.prepare"),  # a warning in a lesson is an error
    "reset_modules_order": "both",
    # The reference lists the lessons that use a name, and lessons link names to the reference.
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("redunet",),
    "reference_url": {"redunet": None},
    "write_computation_times": False,  # their pages load style sheets from the network
    "parallel": 2,
    "capture_repr": (),
}

html_theme = "furo"
html_title = f"redunet {version}"
html_show_sphinx = False
html_show_copyright = False


def escape_shapes(app, what, name, obj, options, lines):
    """Let (m, *shape), where it is no literal, be what it is: not the beginning of emphasis."""
    for i, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [re.sub(r", \*(?=[a-z])", r", \\*", part) for part in parts[::2]]
        lines[i] = "``".join(parts)


def link_types(app, what, name, obj, options, lines):
    """Turn the words of ``TYPES`` into links, in the lines that napoleon makes of parameters."""
    words = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, TYPES))})(?![\w.])")
    for i, line in enumerate(lines):
        if line.startswith(":type "):
            field, colon, text = line.partition(": ")
            linked = words.sub(lambda word: f":class:`{word[1]} <{TYPES[word[1]]}>`", text)
            lines[i] = field + colon + linked


LOADED = re.compile(r"""<(?:link\b[^>]*\bhref|(?:script|img|iframe)\b[^>]*\bsrc)="(?:https?:)?//""")


def check_that_pages_need_no_network(app, exception):
    """Raise an error if a page loads a style sheet, a script or a picture from elsewhere."""
    pages = Path(app.outdir).rglob("*.html")
    loading = [page for page in pages if LOADED.search(page.read_text(encoding="utf-8"))]
    if loading and exception is None:
        names = ", ".join(str(page.relative_to(app.outdir)) for page in loading)
        raise ExtensionError(f"pages load files from the network: {names}")


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", escape_shapes, priority=100)
    app.connect("autodoc-process-docstring", link_types, priority=900)
    app.connect("build-finished", check_that_pages_need_no_network)
