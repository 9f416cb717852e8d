"""Plug-ins of a report: the sections that they bring."""

from collections.abc import Sequence
from importlib.metadata import entry_points

from reports import sections


def load(plugins: Sequence[str]) -> None:
    """Load plug-ins, those that are installed included, and add their sections to the page.

    Parameters
    ----------
    plugins : sequence of str
        Folders and packages, as `plugins` of run.py takes them.

    Raises
    ------
    PaddockError
        There is no such plug-in, or a section's name is taken.
    """
    if not plugins and not entry_points(group="paddock.plugins"):
        return
    # A report without plug-ins needs nothing of the engine.
    from experiments.components.plugins import load_plugins
    from experiments.components.registry import functions
    from paddock import ReportSection

    load_plugins(plugins)
    for component in functions(ReportSection).values():
        if component.plugin is not None:
            sections.add(component.load())
