"""The hash of a component's source: what changes it and what does not."""

from pathlib import Path

import pytest

from experiments.components.source_hash import hash_of_source, source_hash
from experiments.errors import PaddockError

MODEL = '''"""A model."""

import numpy as np

from .losses import loss
from own.layers.linear import Linear


class Model:
    """What it is."""

    rate = 0.5

    def step(self, x):
        """One step."""
        from . import late
        import own.plain

        if x is None:
            return None
        return loss(x) * self.rate + late.shift + own.plain.shift
'''
FILES = {
    "__init__.py": "",
    "model.py": MODEL,
    "losses.py": "from .deep import power\n\n\ndef loss(x):\n    return x**power\n",
    "deep.py": "power = 2\n",
    "late.py": "shift = 1\n",
    "plain.py": "shift = 2\n",
    "layers/__init__.py": "",
    "layers/linear.py": "from ..common import bias\n\n\nclass Linear:\n    bias = bias\n",
    "common.py": "bias = True\n",
    "unused.py": "shift = 3\n",
}
IMPORTED = ("losses.py", "deep.py", "late.py", "plain.py", "layers/linear.py", "common.py")
GOLDEN = "002e88bf3a6c2c982eef1c6e7674e6e73f7f8bcc282bdf557855fb0c0e91ad22"


def written(folder: Path, **changed: str) -> Path:
    for name, text in {**FILES, **changed}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def hashed(folder: Path, package: str = "own") -> str:
    return source_hash(folder / "model.py", f"{package}.model", within=package)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "own")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    rate = 0.5\n", "    rate = 0.5  # of a step\n"),
        ("    rate = 0.5\n", "\n\n    # a comment\n\n    rate = (\n        0.5\n    )\n"),
        ('"""A model."""', '"""Another text."""'),
        ('        """One step."""\n', ""),
        ('    """What it is."""\n', '    """What\n\n    it is.\n    """\n'),
        ("    rate = 0.5\n", '    rate = 0.5\n    """Of a step."""\n'),
    ],
)
def test_comments_formatting_and_docstrings_change_nothing(
    old: str, new: str, folder: Path
) -> None:
    before = hashed(folder)
    assert old in MODEL
    (folder / "model.py").write_text(MODEL.replace(old, new))
    assert hashed(folder) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rate = 0.5", "rate = 0.25"),
        ("rate = 0.5", "rate = '0.5'"),
        ("* self.rate", "/ self.rate"),
        ("is None", "is not None"),
        ("return None", "return"),
        ("return None", "return False"),
        ("def step(self, x)", "def step(self, x, *, y=1)"),
        ("class Model:", "class Model(Linear):"),
        ("import numpy as np\n", ""),
        ("    rate = 0.5\n", "    rate = 0.5\n    other = 1\n"),
        ("+ late.shift + own.plain.shift", "+ own.plain.shift + late.shift"),
    ],
)
def test_every_statement_changes_it(old: str, new: str, folder: Path) -> None:
    before = hashed(folder)
    assert old in MODEL
    (folder / "model.py").write_text(MODEL.replace(old, new))
    assert hashed(folder) != before


@pytest.mark.parametrize("name", IMPORTED)
def test_what_it_imports_of_its_package_counts(name: str, folder: Path) -> None:
    """At the head or within a function, relatively or by the full name, through other files."""
    before = hashed(folder)
    (folder / name).write_text(FILES[name] + "more = 1\n")
    changed = hashed(folder)
    assert changed != before
    (folder / name).write_text(FILES[name] + "more = 1  # as before\n")
    assert hashed(folder) == changed


def test_what_it_does_not_import_does_not(folder: Path) -> None:
    before = hashed(folder)
    (folder / "unused.py").write_text("shift = 4\n")
    (folder / "added.py").write_text("shift = 5\n")
    assert hashed(folder) == before


def test_two_files_that_change_places_change_it(folder: Path) -> None:
    before = hashed(folder)
    (folder / "late.py").write_text(FILES["plain.py"])
    (folder / "plain.py").write_text(FILES["late.py"])
    assert hashed(folder) != before


def test_where_the_package_lies_counts_for_nothing(folder: Path, tmp_path: Path) -> None:
    assert hashed(written(tmp_path / "elsewhere" / "own")) == hashed(folder)


def test_a_plug_ins_folder_need_not_be_called_as_its_package(folder: Path, tmp_path: Path) -> None:
    package = "paddock_plugins.own_models"
    text = {"model.py": MODEL.replace("own.", f"{package}.")}
    hyphened = written(tmp_path / "own-models", **text)
    before = hashed(hyphened, package)
    (hyphened / "deep.py").write_text("power = 3\n")
    after = hashed(hyphened, package)
    (hyphened / "plain.py").write_text("shift = 3\n")
    assert len({before, after, hashed(hyphened, package)}) == 3


def test_a_plug_in_counts_what_it_imports_of_our_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.components import source_hash as module

    monkeypatch.setattr(module, "ROOT", tmp_path / "root")
    ours = tmp_path / "root" / "models" / "sasrec.py"
    ours.parent.mkdir(parents=True)
    (ours.parent / "__init__.py").write_text("")
    ours.write_text("from models._transformer import heads\n")
    helper = ours.with_name("_transformer.py")
    helper.write_text("heads = 1\n")
    own = tmp_path / "own" / "model.py"
    own.parent.mkdir()
    own.write_text("from models.sasrec import heads\nimport numpy\n")
    before = source_hash(own, "paddock_plugins.own.model", within="paddock_plugins.own")
    helper.write_text("heads = 2\n")
    assert source_hash(own, "paddock_plugins.own.model", within="paddock_plugins.own") != before


def test_a_cycle_of_imports_ends(tmp_path: Path) -> None:
    folder = written(tmp_path / "own", **{"deep.py": "from . import model\n\npower = 2\n"})
    assert len(hashed(folder)) == 64


def test_a_file_that_cannot_be_parsed_is_told(folder: Path) -> None:
    (folder / "deep.py").write_text("power = = 2\n")
    with pytest.raises(PaddockError, match=r"deep\.py, line 1: invalid syntax"):
        hashed(folder)


SOURCE = '''"""Of every kind."""

import os as system
from typing import Any

type_of: dict[str, "Any"] = {"é\u0378🎬": b"x", **{}}


@property
async def walk(a, /, b: int = 1, *rest, c=None, **named) -> float:
    global SEEN
    async with a as entered, b:
        await entered
    for i, (j, _) in enumerate(rest):
        if i and not j or b <= i < 3.0e-5:
            continue
        elif (n := -i) is None:
            break
    else:
        del i
    while True:
        try:
            yield lambda x=1: x @ 2j
        except (OSError, ValueError) as error:
            raise KeyError(f"{error!r:>{b}} and {a}") from None
        finally:
            assert b, "b"
    match a:
        case {"x": [1, *others], **more} if more:
            return ...
        case str() | None as found:
            pass
    return [x async for x in a if x][1:2, ::3] if b else {*rest}
'''


def test_it_is_the_same_in_every_version_of_python() -> None:
    """A golden value: runs that one version made are reused under another."""
    assert hash_of_source(SOURCE, Path("any.py")) == GOLDEN
