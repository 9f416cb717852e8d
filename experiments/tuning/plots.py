"""The figures of a study, on one page that needs no network."""

import html
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.study import Study

FILE = "plots.html"


def write_plots(study: "Study", folder: Path) -> Path:
    """Draw history, importances, parallel coordinates and slices; say why one cannot be drawn.

    Parameters
    ----------
    study
        The study, with its trials.
    folder
        Where the page is written.

    Returns
    -------
    Path
        The page.
    """
    from optuna import visualization

    drawn: dict[str, Any] = {
        "Optimization history": visualization.plot_optimization_history,
        "Parameter importances": visualization.plot_param_importances,
        "Parallel coordinates": visualization.plot_parallel_coordinate,
        "Slices": visualization.plot_slice,
    }
    parts, script = [], True
    for title, draw in drawn.items():
        parts.append(f"<h2>{title}</h2>")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                figure: Any = draw(study)
            parts.append(figure.to_html(full_html=False, include_plotlyjs=script))
            script = False  # once is enough for the page
        except (ValueError, RuntimeError, ImportError) as error:
            parts.append(f"<p>Not drawn: {html.escape(str(error))}</p>")
    name = html.escape(study.study_name)
    page = f'<!doctype html><meta charset="utf-8"><title>{name}</title><h1>{name}</h1>'
    path = folder / FILE
    path.write_text(page + "\n".join(parts), encoding="utf-8")
    return path
