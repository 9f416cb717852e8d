"""What our loader composes against what Hydra's own does, for every way in which Hydra asks."""

from collections.abc import Iterator
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

import experiments.config.compose  # noqa: F401  registers the schema
from experiments.config.loader import Loader
from experiments.paths import CONF
from tests.commands.command_line import CommandLine

GRID = ["model=pop,bpr", "seed=1,2,30", "dataset=tiny", "++model.epochs=3"]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    GlobalHydra.instance().clear()
    JobRuntime.instance().set("name", "run")
    yield
    GlobalHydra.instance().clear()


def hydra(loader: type[ConfigLoaderImpl], conf: Path = CONF) -> Hydra:
    return Hydra("run", loader(create_config_search_path(str(conf))))


def content(config: DictConfig) -> tuple[Any, str]:
    """All of a configuration: its values, those that are not resolved, and the types of values."""
    return OmegaConf.to_container(config, enum_to_str=False), OmegaConf.to_yaml(config)


def mode_and_config(
    asked: Hydra, overrides: list[str], *, added: list[str] | None = None
) -> tuple[Any, tuple[Any, str]]:
    """What Hydra's own command line asks for, one after the other."""
    mode = asked.get_mode("config", list(overrides))
    mode_taken = mode or RunMode.RUN
    appended = added if added is not None else [] if mode else ["hydra.mode=RUN"]
    if "hydra.mode=MULTIRUN" in appended:
        mode_taken = RunMode.MULTIRUN
    made = asked.compose_config("config", [*overrides, *appended], mode_taken)
    return mode, content(made)


@pytest.mark.parametrize(
    ("overrides", "added"),
    [
        (["model=pop", "dataset=tiny"], None),
        (["hydra.mode=RUN", "seed=7"], None),
        (["experiment=quickstart"], None),
        (GRID, ["hydra.mode=MULTIRUN"]),
        (["hydra.searchpath=[file:///tmp]", "model=sasrec"], None),
    ],
    ids=["run", "mode given", "grid of a file", "grid", "search path"],
)
def test_a_command_is_composed_as_by_hydra(overrides: list[str], added: list[str] | None) -> None:
    ours = mode_and_config(hydra(Loader), overrides, added=added)
    assert ours == mode_and_config(hydra(ConfigLoaderImpl), overrides, added=added)


def test_a_command_is_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[list[str]] = []
    own = ConfigLoaderImpl._load_configuration_impl

    def counted(self: ConfigLoaderImpl, **arguments: Any) -> DictConfig:
        composed.append(arguments["overrides"])
        return own(self, **arguments)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counted)
    mode_and_config(hydra(Loader), ["model=pop"])
    assert composed == [["model=pop"]]


@pytest.mark.parametrize("overrides", [["model=pop,bpr"], ["model=nothing"]])
def test_what_hydra_refuses_is_refused_in_its_words(overrides: list[str]) -> None:
    told = []
    for loader in (ConfigLoaderImpl, Loader):
        with pytest.raises(HydraException) as refused:
            mode_and_config(hydra(loader), overrides)
        told.append((type(refused.value), str(refused.value), str(refused.value.__cause__)))
    assert told[0] == told[1]


def test_a_group_that_a_grid_leaves_open_is_missing_in_a_run(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("defaults: [{model: '???'}, _self_]\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pop.yaml").write_text("name: Pop\n")
    made = [
        mode_and_config(hydra(each, tmp_path), ["model=pop,bpr"], added=["hydra.mode=MULTIRUN"])
        for each in (ConfigLoaderImpl, Loader)
    ]
    assert made[0] == made[1]
    for loader in (ConfigLoaderImpl, Loader):
        with pytest.raises(HydraException, match="You must specify 'model'"):
            mode_and_config(hydra(loader, tmp_path), [])


def test_what_is_kept_follows_the_files(tmp_path: Path) -> None:
    """Of the same length and in the same instant; what a caller does to a configuration stays its own."""
    (tmp_path / "model").mkdir()
    (tmp_path / "config.yaml").write_text("defaults: [{model: pop}, _self_]\nseed: 1\n")
    for name, value in (("Pop", 1), ("BPR", 1), ("BPR", 2)):
        (tmp_path / "model" / "pop.yaml").write_text(f"{{name: {name}, values: {{k: {value}}}}}\n")
        asked = [hydra(each, tmp_path) for each in (ConfigLoaderImpl, Loader, Loader)]
        made = [each.compose_config("config", [], RunMode.RUN) for each in asked]
        assert content(made[0]) == content(made[1]) == content(made[2])
        assert made[1].model == {"name": name, "values": {"k": value}}
        made[1].model["values"]["k"] = "spoilt"
        made[2].hydra.job.name = "spoilt"


def test_a_dataclass_that_is_stored_anew_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("defaults: [loader_test_schema, _self_]\n")
    for default in (1, 2):
        schema = make_dataclass("Schema", [("number", int, default)])
        ConfigStore.instance().store(name="loader_test_schema", node=schema)
        made = hydra(Loader, tmp_path).compose_config("config", [], RunMode.RUN)
        assert made.number == default


def test_jobs_of_a_grid_are_composed_as_by_hydra() -> None:
    tiny = ["dataset=tiny"]
    rest = ["protocol.valid_metric=ndcg@20", "runs_dir=here/${seed}"]
    jobs = [
        ["model=pop", "seed=1", *tiny],
        ["model=pop", "seed=30", *tiny],
        ["model=pop", "seed=2", *tiny, *rest],
        ["model=pop", "seed=007", *tiny, *rest],
    ]
    made = []
    for kind in (ConfigLoaderImpl, Loader):
        loader = hydra(kind).config_loader
        master = loader.load_configuration("config", GRID, RunMode.MULTIRUN)
        if kind is Loader:
            # Hydra composes every job twice; what is done to the first must not show in the second.
            for job in jobs[::-1]:
                spoilt = loader.load_sweep_config(master, list(job))
                spoilt.seed, spoilt.dataset.source, spoilt.hydra.job.num = 99, "spoilt", 99
        configs = [loader.load_sweep_config(master, list(job)) for job in jobs]
        made.append([(content(each), each.runs_dir, each.seed) for each in configs])
    for ours, theirs, job in zip(made[1], made[0], jobs, strict=True):
        assert ours == theirs, job


def test_what_cannot_be_composed_is_refused_before_a_grid() -> None:
    master = hydra(Loader).config_loader.load_configuration("config", GRID, RunMode.MULTIRUN)
    told = []
    for kind in (ConfigLoaderImpl, Loader):
        loader = hydra(kind).config_loader
        ask = loader.compose_job if isinstance(loader, Loader) else loader.load_sweep_config
        ask(master, ["model=pop", "seed=1", "dataset=tiny"])
        for job in (["model=pop", "seed=1", "threads=many"], ["model=pop", "threads=many"]):
            with pytest.raises(HydraException) as refused:
                ask(master, job)
            told.append(str(refused.value))
    assert told[:2] == told[2:]


def test_help_is_hydras_own(paddock: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = paddock("--help")
    monkeypatch.setattr("hydra._internal.hydra.ConfigLoaderImpl", ConfigLoaderImpl)
    assert paddock("--help") == ours
    assert "lightgcn" in ours.out
