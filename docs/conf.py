"""Configuration of the documentation: ``sphinx-build -W -b html docs docs/_build/html``."""

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from figures import write_tables  # noqa: E402 - beside this file

project = "sklearn_ae"
author = "The sklearn_ae developers"
copyright = f"2026, {author}"  # noqa: A001  Sphinx requires this name
version = release = installed_version("sklearn-ae")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "auto_examples/**/*.ipynb", "auto_examples/**/*.py"]
source_suffix = {".rst": "restructuredtext"}
default_role = "literal"

# A link within the documentation that leads nowhere is an error of the build (-W). Links to the classes of other
# packages are text, so that the build needs no network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(sklearn|skorch|torch)\..*")]
linkcheck_retries = 2
linkcheck_timeout = 30  # seconds

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["menu.css"]
html_title = f"sklearn_ae {release}"
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2}
html_sidebars = {
    page: []  # no chapters to list
    for page in ("benchmarks", "changelog", "contributing", "exams", "faq", "getting_started", "theory")
}

autosummary_generate = True
autodoc_typehints = "none"  # they are in the Parameters sections, with shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the class template lists the methods

plot_include_source = True
plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = ["png"]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_ae",),
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    # A failing example fails the build at its end, so that all failures are reported.
    "abort_on_example_error": False,
    "only_warn_on_example_error": False,
}


def is_of_sklearn(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Skip members inherited from scikit-learn, whose docstrings refer to its own documentation."""
    written_there = str(getattr(obj, "__module__", "")).startswith("sklearn.")
    return True if written_there or re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None


def setup(app: Any) -> None:
    """Write the tables of results, and connect the event handlers."""
    write_tables(Path(__file__).parent / "generated" / "figures")
    app.connect("autodoc-skip-member", is_of_sklearn)
