"""What README, CONTRIBUTING and docs/ promise: links that lead somewhere, commands that compose."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import yaml

from experiments.config.check import check
from experiments.config.compose import TUNED, compose, typed
from experiments.errors import PaddockError
from experiments.paths import CONF
from reports.errors import ReportError
from reports.options import parse

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(
        path
        for path in (ROOT / "docs").rglob("*.md")
        if not {"_build", "keys.md"} & set(path.parts)
    ),
    ROOT / "datasets" / "README.md",
    ROOT / "benchmarks" / "README.md",
]

FENCE = re.compile(r"^ *(`{3,})(\S*).*?\n(.*?)^ *\1 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)\]\(([^)\s]+)\)|\{(?:image|include)\} (\S+)")
COMMAND = re.compile(r"python (run\.py|tune\.py|-m reports)( .*)?")

EXAMPLES = ("model=tempmf", "plugins=[my_plugin]")
"""Of commands for what a page shows how to add."""

REFUSED = ("model.learning_rat=", "model.temprature=")
"""Mistakes that a page makes on purpose."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def shell_lines(text: str) -> Iterator[str]:
    """The lines of a page that a shell would run, continued ones joined, comments left out."""
    for _, language, block in FENCE.findall(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            line = line.strip()
            if language == "console" and line.startswith("$ "):
                yield line[2:]
            elif language in ("sh", "bash"):
                yield line
    # Commands within a sentence and in tables, where they are whole.
    for code in re.findall(r"`(python [^`]+)`", FENCE.sub("", text)):
        yield " ".join(code.split())
    # An indented block, as in datasets/README.md.
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("    python "):
            yield line.strip()


def commands() -> list[tuple[str, str, tuple[str, ...]]]:
    """(page, program, overrides) of every command of ours in every page, each once."""
    found = {}
    for path in PAGES:
        for line in shell_lines(path.read_text(encoding="utf-8")):
            at = COMMAND.search(line)
            if at is None:
                continue
            words = tuple(shlex.split((at[2] or "").partition(" && ")[0], comments=True))
            found.setdefault((at[1], words), name(path))
    return [(page, program, words) for (program, words), page in found.items()]


COMMANDS = commands()


def jobs(words: tuple[str, ...]) -> list[list[str]]:
    """The overrides of every job of a command: several values of a key make a grid after -m."""
    overrides = [word for word in words if "=" in word or word.startswith("~")]
    if "-m" not in words:
        return [overrides]
    values = [
        [f"{key}={value}" for value in _values(text)]
        for key, _, text in (override.partition("=") for override in overrides)
    ]
    return [list(job) for job in product(*values)]


def _values(text: str) -> list[str]:
    return [text] if text.startswith(("[", "{")) else text.split(",")


def composed(program: str, words: tuple[str, ...]) -> None:
    """Compose and check what a command asks for, as the program itself does before any data is read."""
    if program == "-m reports":
        parse([word for word in words if "=" in word])
        return
    for overrides in jobs(words):
        # Whoever tuned has the file that this stands for.
        kept = [word for word in overrides if word not in TUNED]
        if program == "run.py":
            check(typed(compose(kept)))
        else:
            from experiments.tuning.config import TuneConfig
            from experiments.tuning.read_space import read_space

            config = typed(
                compose(kept, name="tune", schema=TuneConfig),
                schema=TuneConfig,
            )
            resolved = check(config)
            assert resolved is not None
            read_space(config.search, config.model, resolved)


def mistaken(words: tuple[str, ...]) -> bool:
    return any(word.startswith(REFUSED) for word in words)


def of_example(words: tuple[str, ...]) -> bool:
    return any(word in EXAMPLES for word in words)


RIGHT = [each for each in COMMANDS if not mistaken(each[2]) and not of_example(each[2])]


def test_commands_are_found() -> None:
    """A pattern that finds nothing would let every page pass."""
    pages = {page for page, *_ in COMMANDS}
    assert {"README.md", "docs/tutorial.md", "docs/howto/tune.md", "datasets/README.md"} <= pages
    assert len(RIGHT) >= 50


@pytest.mark.parametrize(
    ("page", "program", "words"),
    RIGHT,
    ids=[f"{page}: {program} {shlex.join(words)}" for page, program, words in RIGHT],
)
def test_command_composes(
    page: str, program: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    del page
    monkeypatch.setenv("TOKEN", "a reader has set it")
    composed(program, words)


def test_a_wrong_command_would_be_noticed() -> None:
    with pytest.raises(PaddockError, match="learning_rate"):
        composed("run.py", ("-m", "model=bpr,sasrec", "model.learning_rat=1e-4"))
    with pytest.raises(PaddockError, match=r"search\.width"):
        composed("tune.py", ("model=bpr", "search.width={type: int, low: 1, high: 2}"))
    with pytest.raises(ReportError, match="baselines"):
        composed("-m reports", ("baseline=[pop]",))


@pytest.mark.parametrize("words", [words for *_, words in COMMANDS if mistaken(words)])
def test_mistakes_on_purpose_are_refused_as_shown(words: tuple[str, ...]) -> None:
    if of_example(words):
        pytest.skip("the model of an example")
    with pytest.raises(PaddockError) as refused:
        composed("run.py", words)
    pages = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert f"error: {refused.value}" in pages


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    prose = FENCE.sub(lambda found: found[0] if found[2].startswith("{") else "", text)
    for found in LINK.finditer(prose):
        link = found[1] or found[2]
        if re.match(r"[a-z]+:", link) or link.startswith("#"):
            continue
        target, _, anchor = link.partition("#")
        there = path.parent / target
        assert there.exists(), f"{name(path)} links to {link}"
        if anchor:
            assert anchor in anchors(there), f"{name(path)} links to {link}"


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(
        r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE
    )
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = set()
    for path in (ROOT / "docs").rglob("*.md"):
        for _, language, block in FENCE.findall(path.read_text(encoding="utf-8")):
            if language.startswith("{toctree}"):
                lines = [line.strip() for line in block.splitlines() if not line.startswith(":")]
                listed |= {(path.parent / f"{line}.md").resolve() for line in lines if line}
    pages = {path.resolve() for path in PAGES if path.is_relative_to(ROOT / "docs")}
    assert pages - listed == {(ROOT / "docs" / "index.md").resolve()}


def test_every_model_and_protocol_is_in_the_reference() -> None:
    models = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
    whole = [path.stem for path in (CONF / "model").glob("*.yaml") if "-" not in path.stem]
    assert [model for model in whole if f"`{model}`" not in models] == []
    protocol = (ROOT / "docs" / "reference" / "protocol.md").read_text(encoding="utf-8")
    known = [path.stem for path in (CONF / "protocol").glob("*.yaml")]
    assert [each for each in known if f"`{each}`" not in protocol] == []


def test_the_citation_can_be_read() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert all(
        {"name"} <= set(author) or {"family-names"} <= set(author) for author in citation["authors"]
    )


def test_versions_and_licence_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\]",
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert str(citation["version"]) == project["version"] == released[0]
    assert citation["license"] == project["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


PATHS = re.compile(
    r"`((?:experiments|models|reports|conf|benchmarks|paddock|datasets|tests)/[\w./-]*[\w/])`"
)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_files_that_a_page_names_exist(path: Path) -> None:
    made = ("datasets/prepared", "reports/out", "benchmarks/out", "benchmarks/peers/results")
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    named = {found for found in PATHS.findall(text) if not found.startswith(made)}
    # Placeholders and the files of an example.
    named -= {found for found in named if "NAME" in found or "tempmf" in found}
    assert sorted(found for found in named if not (ROOT / found).exists()) == []
