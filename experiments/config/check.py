"""What types cannot say: every impossible configuration is refused before any data is read."""

import re
from importlib.util import find_spec

from experiments import processes
from experiments.address import is_http, problem
from experiments.components.plugins import load_plugins
from experiments.components.registry import callbacks, strategies, strategy_config
from experiments.config.language_keys import CONTROLS
from experiments.config.protocol_keys import check_protocol, check_times
from experiments.config.resolve import MEMBER, ResolvedModel, resolve_model
from experiments.config.schema import (
    LLM_STEPS,
    Config,
    LLMClientConfig,
    Mode,
    ProtocolConfig,
    Refit,
)
from experiments.config.values import PRECISIONS, at_least, nearest
from experiments.data.sources.locate import OBJECT_STORES, is_url
from experiments.errors import PaddockError

STORES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks", "file", "")
"""What an address of MLflow's begins with; nothing before a colon is a folder, or databricks."""

ALL = "all"
"""What `user` is for every user of the data set."""

MOST_RETRIES = 10

LARGEST_SEED = 2**32 - 1
"""numpy takes no larger one."""


def check(config: Config) -> ResolvedModel | None:
    """Check a configuration, and resolve its model where the mode has one.

    Parameters
    ----------
    config : Config
        A composed configuration.

    Returns
    -------
    ResolvedModel or None
        None where the mode runs no model.

    Raises
    ------
    PaddockError
        Naming the key's full path, its value, and what would do.
    """
    load_plugins(config.plugins)
    at_least("seed", config.seed, 0)
    if config.seed > LARGEST_SEED:
        raise PaddockError(f"seed={config.seed} must be at most {LARGEST_SEED}")
    at_least("threads", config.threads, 1)
    at_least("k", config.k, 1)
    at_least("checkpoint_seconds", config.checkpoint_seconds, 0)
    _check_addresses(config)
    if config.text_control not in CONTROLS:
        raise PaddockError(
            f"text_control={config.text_control} is unknown: {nearest(config.text_control, CONTROLS)}"
        )
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.device):
        raise PaddockError(f"device={config.device} is unknown: choose auto, cpu, cuda or cuda:N")
    at_least(
        "dataset.filters.min_user_interactions", config.dataset.filters.min_user_interactions, 0
    )
    at_least(
        "dataset.filters.min_item_interactions", config.dataset.filters.min_item_interactions, 0
    )
    check_protocol(config.protocol)
    check_times(config.protocol, config.dataset)
    if config.precision not in PRECISIONS:
        raise PaddockError(
            f"precision={config.precision} is unknown: {nearest(config.precision, PRECISIONS)}"
        )
    if config.mode is not Mode.run:
        processes.refuse_several(f"mode={config.mode.value}")
    _check_mode(config)
    if config.mode not in (Mode.run, Mode.recommend, Mode.talk):
        return None
    callbacks()  # of plug-ins: one that a run could not call is refused here
    resolved = resolve_model(config.model)
    _check_processes(resolved)
    _check_members(config.protocol, resolved)
    _check_precision(config.precision, resolved)
    _check_ratings(config, resolved)
    if config.mode is Mode.recommend:
        _check_asked(config)
    return resolved


def _check_addresses(config: Config) -> None:
    """Refuse what no server, database or folder can be called."""
    for key in ("runs_dir", "data_dir"):
        if not getattr(config, key).strip():
            raise PaddockError(f"{key} is empty: name a folder")
    uri = config.tracking.uri
    if uri is not None and (reason := problem(uri, STORES)):
        raise PaddockError(
            f"tracking.uri={uri}: {reason}; tracking=off keeps runs in their folders alone"
        )
    source = config.dataset.source
    # What is missing is told by who reads the data.
    if is_http(source) and (reason := problem(source, ("http", "https"))):
        raise PaddockError(f"dataset.source={source}: {reason}")
    if "://" in source and not is_url(source):
        raise PaddockError(
            f"dataset.source={source}: name a path, recbole:NAME, or an address with http://, https:// "
            f"or s3:// (or {', '.join(OBJECT_STORES[1:])})"
        )
    artifacts = config.tracking.artifacts or ""
    if uri is not None and artifacts.startswith("s3://") and find_spec("boto3") is None:
        raise PaddockError(
            f"tracking.artifacts={artifacts} needs the package boto3; install it with: pip install "
            f"'paddock[s3]'"
        )


def _check_mode(config: Config) -> None:
    """Refuse a mode without the key that it is about."""
    at_least("serve.workers", config.serve.workers, 1)
    _check_client(config.llm_client)
    for step in config.talk.llm_steps:
        if step not in LLM_STEPS:
            raise PaddockError(f"talk.llm_steps={step} is unknown: {nearest(step, LLM_STEPS)}")
    if not 0 < config.serve.port < 1 << 16:
        raise PaddockError(f"serve.port={config.serve.port} is no port: choose one from 1 to 65535")
    if config.mode is Mode.score and not config.lists:
        raise PaddockError("mode=score needs lists=FILE: user, item, and rank or score")
    if config.mode in (Mode.promote, Mode.retrain) and config.run_id is None:
        raise PaddockError(
            f"mode={config.mode.value} needs run_id=..., an MLflow run id or a run folder"
        )
    if config.mode is Mode.retrain and config.serve.feedback is None:
        raise PaddockError("serve.feedback is null: name the database that holds the feedback")
    if not re.fullmatch(r"[A-Za-z][\w-]{0,63}", config.alias, re.ASCII):
        raise PaddockError(
            f"alias={config.alias!r:.80} is none: a letter, then letters, digits, '_' and '-'"
        )


def _check_client(keys: LLMClientConfig) -> None:
    if not keys.timeout > 0:
        raise PaddockError(f"llm_client.timeout={keys.timeout:g} is too short: seconds above 0")
    if not 0 <= keys.retries <= MOST_RETRIES:
        raise PaddockError(
            f"llm_client.retries={keys.retries} is out of range: 0 to {MOST_RETRIES}"
        )
    if keys.base_url is not None and keys.llm is not None:
        raise PaddockError(
            f"llm_client.base_url and llm_client.llm={keys.llm} name two language models: set one to null"
        )


def _check_processes(resolved: ResolvedModel) -> None:
    """Refuse a model of which some stage trains in one process alone, where torchrun started several."""
    if processes.size() == 1:
        return
    for name in sorted(set().union(*(each.strategies for each in resolved.everything))):
        if not strategy_config(name).several_processes:
            able = [each for each in strategies() if strategy_config(each).several_processes]
            raise PaddockError(
                f"model.strategy={name} trains in one process, and torchrun started "
                f"{processes.size()}: leave torchrun out; one run over several processes is for the "
                f"strategies {', '.join(sorted(able))}"
            )


def _check_members(protocol: ProtocolConfig, resolved: ResolvedModel) -> None:
    """Refuse what a fusion with a language model cannot do: rank all items, or train again."""
    named = [
        stage
        for stage, own in resolved.frozen.items()
        if "prompts" in own.model.offers and own.values.get("llm") is not None
    ]
    if not named:
        return
    member = f"model.members.{named[0].removeprefix(MEMBER)}"
    full = [name for name, ranking in protocol.rankings.items() if ranking.candidates is None]
    if full:
        raise PaddockError(
            f"protocol={protocol.name} ranks all items ({full[0]}), and {member} ranks candidates by "
            "a prompt: choose protocol=loo-c20"
        )
    if protocol.refit is not Refit.none:
        raise PaddockError(
            f"protocol.refit={protocol.refit.value}: {member} is trained once; choose protocol.refit=none"
        )


def _check_precision(precision: str, resolved: ResolvedModel) -> None:
    able = any(strategy_config(name).mixed_precision for name in resolved.strategies)
    if precision == "bfloat16" and not able:
        raise PaddockError(
            f"precision=bfloat16: {resolved.name} computes in float32 by strategy "
            f"{resolved.values['strategy']}; leave precision=auto"
        )


def _check_ratings(config: Config, resolved: ResolvedModel) -> None:
    reads = any(strategy_config(name).reads_ratings for name in resolved.strategies)
    if reads and config.dataset.columns.rating is None:
        raise PaddockError(
            f"dataset.columns.rating is null: {resolved.name} learns from ratings; "
            "name their column"
        )


def _check_asked(config: Config) -> None:
    """Refuse to recommend to nobody, and a list of all users without a file for it."""
    users = config.user
    if users is None and not (config.history or config.query or config.profile):
        raise PaddockError(
            "mode=recommend needs user=ID (or user=[ID,ID], or user=all), as in the data set; somebody "
            "new is history=[...], profile.COLUMN=VALUE or query=TEXT"
        )
    ids = users if isinstance(users, list | tuple) else [users]
    if not ids or not all(isinstance(each, str | int | float | None) for each in ids):
        raise PaddockError(f"user={users} names nobody: give an id or a list of ids")
    if (users == ALL) != (config.out is not None):
        raise PaddockError(
            "user=all writes to out=FILE (.parquet, .csv or .jsonl), and only user=all does: give both"
        )
    if users == ALL and (config.history or config.dislikes or config.query or config.profile):
        raise PaddockError("user=all takes k, where and exclude: leave the rest of the request out")
