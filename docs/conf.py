"""How Sphinx builds these pages: `make docs`."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

_project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
project = "Paddock"
author = copyright = "Paddock contributors"
release = version = _project["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "api/*/modules.rst"]
html_theme = "furo"
html_title = "Paddock"
html_static_path = ["_static"]
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = "$ "

# Every module has its place on the page of its package; nobody keeps a list.
PACKAGES = [
    name for name in ("paddock", "experiments", "models", "reports") if (ROOT / name).is_dir()
]
apidoc_modules = [
    {
        "path": str(ROOT / name),
        "destination": f"api/{name}",
        "automodule_options": {"members", "show-inheritance", "ignore-module-all"},
        "module_first": True,
        "no_headings": False,
    }
    for name in PACKAGES
]
apidoc_separate_modules = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature tells them, and the docstring the shapes and units
autodoc_inherit_docstrings = False  # torch's own, with references to its pages
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False
# Docstrings write code in single backticks.
default_role = "code"

# References to our own names must resolve; those to other packages are not looked up, for the build
# reads no network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!(experiments|models|reports|paddock)\.).*"),
    (r"py:.*", r".*\._\w+.*"),  # private ones have no place here
    (r"py:obj", r".*"),  # the type variables of a signature
]

KEYS = "experiments.config.key_reference"


def setup(app: object) -> None:
    """Write the reference of all keys, where the module that knows them is there."""
    del app
    if importlib.util.find_spec(KEYS) is not None:
        subprocess.run([sys.executable, "-m", KEYS], cwd=ROOT, check=True)
