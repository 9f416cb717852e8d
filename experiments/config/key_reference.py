"""The keys of all components, as a table for a terminal and as a page of the documentation.

    python -m experiments.config.key_reference

writes docs/keys.md from the declarations.
"""

from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from experiments.components.registry import functions, models, strategies
from experiments.config.language_keys import LLMConfig, TextEncoderConfig
from experiments.config.models import fitting, model
from experiments.config.recbole_models import recbole_models, refusal
from experiments.config.resolve import ResolvedModel
from experiments.config.schema import Config
from experiments.config.values import spelled_value
from experiments.files import write_text
from experiments.paths import ROOT
from paddock import Key, ListMeasure, Metric, Reader, Split

PAGE = ROOT / "docs" / "keys.md"

HEAD = """\
# All keys

Written by `python -m experiments.config.key_reference` from the declarations of the components. On a
command line a model's keys stand under `model.`, as in `model.learning_rate=1e-3`, and
`python run.py model=sasrec --help` shows those of one model.
"""


def main() -> None:
    """Write the page."""
    write_text(PAGE, page())


def type_name(key: Key) -> str:
    """A key's type as text: "int", "list of int", "float or null".

    Parameters
    ----------
    key : Key
        The key.
    """
    if key.kind is None:
        return "any"
    name = key.kind.__name__
    if key.items is not None:
        name = f"list of {key.items.__name__}"
    return f"{name} or null" if key.optional and key.default is not None else name


def default_text(key: Key) -> str:
    """A key's default as a command spells it.

    Parameters
    ----------
    key : Key
        The key.
    """
    if key.required:
        return "(needed)"
    return "(none)" if key.unset else spelled_value(key.default)


def model_keys(resolved: ResolvedModel) -> list[tuple[str, Key, Any]]:
    """The keys of a model's stages with their values, in alphabetical order.

    Parameters
    ----------
    resolved : ResolvedModel
        The model.

    Returns
    -------
    list of (name, key, value)
    """
    found: dict[str, tuple[Key, Any]] = {}
    for values in resolved.stages.values():
        for name, key in resolved.model.all_keys(values["strategy"]).items():
            found.setdefault(name, (key, resolved.values.get(name)))
    return [(name, *found[name]) for name in sorted(found)]


def page() -> str:
    """The page in Markdown."""
    parts = [HEAD, "## Configuration\n", *_schema_table(Config, "")]
    parts.append("## Models of Paddock\n")
    for name in sorted(models()):
        found = model(name)
        line = (found.config.__doc__ or "").strip().partition("\n")[0] if found.config else ""
        trained = ", ".join(f"`{each}`" for each in fitting(found))
        parts += [f"### {name}\n", f"{line} Strategies: {trained}.\n", *_table(found.keys.values())]
    parts.append("## Strategies\n")
    for name, component in sorted(strategies().items()):
        config = component.declaration
        line = (config.__doc__ or "").strip().partition("\n")[0]
        needs = f" Needs {config.needed}." if config.needed else ""
        parts += [f"### {name}\n", f"{line}{needs}\n", *_table(config.keys.values())]
    parts.append("## Language models and sentence encoders\n")
    parts += ["### model.llm\n", *_table(LLMConfig.keys.values())]
    parts += ["### model.text_encoder\n", *_table(TextEncoderConfig.keys.values())]
    parts.append("## Splits\n")
    for name, component in functions(Split).items():
        parts += [f"### {name}\n", f"{component.declaration.doc}\n"]
        parts += _table(component.declaration.keys)
    for title, kind in (
        ("Ranking metrics", Metric),
        ("Measures of recommended lists", ListMeasure),
        ("Readers", Reader),
    ):
        parts.append(f"## {title}\n")
        parts += _rows(
            ("name", "what it is"),
            [(f"`{name}`", each.declaration.doc) for name, each in functions(kind).items()],
        )
    parts.append("## Models of RecBole\n")
    parts.append("By `model=recbole model.name=NAME`, with RecBole's defaults.\n")
    rows = []
    for name in sorted(recbole_models()):
        if name in models() or refusal(name) is not None:
            continue
        shown = ", ".join(f"`{key.name}={default_text(key)}`" for key in model(name).keys.values())
        rows.append((f"`{name}`", shown))
    parts += _rows(("model", "keys and their defaults"), rows)
    return "\n".join(parts) + "\n"


def _table(keys: Iterable[Key]) -> list[str]:
    rows = [
        (f"`{key.name}`", type_name(key), f"`{default_text(key)}`", key.bounds, key.doc)
        for key in keys
    ]
    return _rows(("key", "type", "default", "values", "what it is"), rows) if rows else []


def _schema_table(schema: Any, path: str) -> list[str]:
    rows = [(f"`{name}`", f"`{spelled_value(default)}`") for name, default in _leaves(schema, path)]
    return _rows(("key", "default"), rows)


def _leaves(schema: Any, path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for field in fields(schema):
        name = f"{path}{field.name}"
        if is_dataclass(field.type):
            found += _leaves(field.type, f"{name}.")
            continue
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        found.append((name, getattr(default, "value", default)))
    return found


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return ["\n".join(lines) + "\n"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def show_model_keys(resolved: ResolvedModel, console: Any) -> None:
    """Print the keys of a model as a table: the help of `model=NAME --help`.

    Parameters
    ----------
    resolved : ResolvedModel
        The model.
    console : rich.console.Console
        Where to print.
    """
    from rich.table import Table
    from rich.text import Text

    config = resolved.model.config
    line = (config.__doc__ or "").strip().partition("\n")[0] if config else "One of RecBole's."
    console.print(
        f"{resolved.name}, trained by {', '.join(sorted(resolved.strategies))}. {line}",
        highlight=False,
    )
    table = Table(box=None, padding=(0, 1), header_style="")
    for column in ("key", "type", "value", "values", "what it is"):
        table.add_column(column, overflow="fold")
    for name, key, value in model_keys(resolved):
        shown = default_text(key) if value is None and key.unset else spelled_value(value)
        cells = (f"model.{name}", type_name(key), shown, key.bounds, key.doc)
        table.add_row(*map(Text, cells))
    console.print(table)


if __name__ == "__main__":
    main()
