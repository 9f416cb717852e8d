"""How Sphinx builds these pages: `make docs`."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TypeVar

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.writers.html5 import HTML5Translator

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

# Sphinx reads the options of packages from the environment alone (8.2).
os.environ["SPHINX_APIDOC_OPTIONS"] = "members,show-inheritance,ignore-module-all"
# Every module has its place on the page of its package; nobody keeps a list.
PACKAGES = [
    name for name in ("paddock", "experiments", "models", "reports") if (ROOT / name).is_dir()
]
apidoc_modules = [
    {
        "path": str(ROOT / name),
        "destination": f"api/{name}",
        "module_first": True,
        "no_headings": False,
    }
    for name in PACKAGES
]
apidoc_separate_modules = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
autodoc_inherit_docstrings = False  # torch's own, with references to its pages
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False
# Docstrings write code in single backticks.
default_role = "code"

# A name without its module, as in a quoted annotation, may be of two classes (Split).
suppress_warnings = ["ref.python"]
# References to our own names must resolve; those to other packages are not looked up, for the build
# reads no network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!(experiments|models|reports|paddock)\.).*"),
    (r"py:.*", r".*\._\w+.*"),  # private ones have no place here
]

KEYS = "experiments.config.key_reference"


html_math_renderer = "mathml"  # which browsers show without a script from elsewhere


def _mathml(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    block = isinstance(node, nodes.math_block)
    formula = tex2mathml(node.astext(), as_block=block)
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def _with_keys(app: Sphinx, docname: str, source: list[str]) -> None:
    """The page of all keys into the contents of the reference, where there is one."""
    del app
    if docname == "reference/index" and (HERE / "keys.md").is_file():
        source[0] = source[0].replace("configuration\n", "configuration\n../keys\n")


def _type_variable(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, shown: nodes.Node
) -> nodes.Node | None:
    """A type variable of a signature has no place to refer to."""
    del app, env
    module, _, name = node["reftarget"].rpartition(".")
    value = getattr(sys.modules.get(module), name, None)
    return shown if isinstance(value, TypeVar) else None


def setup(app: Sphinx) -> None:
    """Show formulas as MathML; write the page of all keys where a module knows them."""
    app.connect("source-read", _with_keys)
    app.connect("missing-reference", _type_variable)
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))
    if importlib.util.find_spec(KEYS) is not None:
        subprocess.run([sys.executable, "-m", KEYS], cwd=ROOT, check=True)
