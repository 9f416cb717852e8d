"""The schema of a configuration: its keys with their types and defaults.

Hydra composes the YAML files under conf/ onto these dataclasses, so that an unknown key or a wrong
type is refused while composing. What a type cannot say (a cut-off above the number of candidates, a
hyper-parameter that the model never reads) is checked in `experiments.config.check`. A model's keys are
its hyper-parameters under RecBole's names, so that they differ from model to model:
`experiments.config.models` knows them.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING


class Mode(Enum):
    """What run.py does with the configuration."""

    run = "run"
    recommend = "recommend"
    upload = "upload"
    leaderboard = "leaderboard"
    inspect = "inspect"
    reproduce = "reproduce"
    talk = "talk"
    serve = "serve"
    score = "score"
    promote = "promote"
    retrain = "retrain"


class Format(Enum):
    """How answers are printed: for people or for machines."""

    table = "table"
    json = "json"


@dataclass
class ColumnsConfig:
    """Which column of the interaction file holds what."""

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = "timestamp"
    rating: str | None = None


@dataclass
class FiltersConfig:
    """Which interactions count. The minima are iterated to a fixed point (k-core)."""

    min_rating: float | None = None
    min_user_interactions: int = 0
    min_item_interactions: int = 0


@dataclass
class TextConfig:
    """The text of an item: `title` names a column, `template` joins columns in braces.

    A prompt calls an item a `noun` and what users do with it a `verb`, whose `past` it also needs.
    """

    title: str | None = None
    template: str | None = None
    noun: str = "item"
    verb: str = "buy"
    past: str = "bought"


@dataclass
class FilesConfig:
    """Which files of the source hold what; atomic files other than `texts` have names of their own.

    Names are relative to the source's folder, archive or URL; `{category}` stands for
    `dataset.category`. Without `item` there are no titles. `texts` is a table of reviews and other texts on
    items (`TextsConfig`), a file of the source or a path.
    """

    inter: str | None = None
    item: str | None = None
    user: str | None = None
    texts: str | None = None


@dataclass
class TextsConfig:
    """The columns of the table of texts, `dataset.files.texts`: a CSV, Parquet or JSON file.

    null: found by its usual name, which is that of the interactions' item or user, `item`, `text`, `kind`,
    `author`, or that of Amazon's reviews. A text without a kind is a review.
    """

    item: str | None = None
    text: str | None = None
    kind: str | None = None
    author: str | None = None


@dataclass
class CsvConfig:
    """The layout of `format: csv`. `separator: null` detects the separator."""

    separator: str | None = None
    encoding: str = "utf-8"
    header: list[str] | None = None


@dataclass
class JoinConfig:
    """More columns of the items, from a table of another source; without `source`, none.

    `source` is an SQLite file, or `package:NAME/PATH` for one that an installed package carries, which the
    command `brought_by` installs. Items are matched by title and year, within one year: the columns `title` and
    `year` of the table, `item_title` and `item_year` of the items. Of several rows of the nearest year the one with
    the largest value in the column `prefer` counts, else the first. `columns` maps names to columns of
    `table`; those of `lists` are parted at commas, and so many entries kept. `template` is the text of an item
    instead of `dataset.text.template`. Splits and candidates are those of the data set without the join.
    """

    source: str | None = None
    brought_by: str | None = None
    table: str | None = None
    title: str | None = None
    year: str | None = None
    prefer: str | None = None
    item_title: str | None = None
    item_year: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    lists: dict[str, int] = field(default_factory=dict)
    template: str | None = None


@dataclass
class DatasetConfig:
    """One data set: where its files are, which columns count, which rows are kept.

    `source` is a folder, file or archive, a URL (http, s3) that is downloaded once, or `recbole:NAME` for a
    data set that the installed recbole package carries. `format` is atomic, movielens, amazon,
    steam, csv or json. `prefix` is the common name of atomic files (NAME.inter, NAME.item,
    NAME.user), by default the folder's. `checksum`, as in "md5:..." or "sha256:...", is that of the
    one file that the URL names. `memory`, as in 512MB, is what rows may take while they are prepared, by
    default a quarter of what is free and at most 1 GB; what is prepared does not depend on it.
    """

    name: str = MISSING
    source: str = MISSING
    format: str = "atomic"
    prefix: str | None = None
    category: str | None = None
    checksum: str | None = None
    files: FilesConfig = field(default_factory=FilesConfig)
    csv: CsvConfig = field(default_factory=CsvConfig)
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    filters: FiltersConfig = field(default_factory=FiltersConfig)
    text: TextConfig = field(default_factory=TextConfig)
    texts: TextsConfig = field(default_factory=TextsConfig)
    join: JoinConfig = field(default_factory=JoinConfig)
    licence: str = ""
    memory: str | None = None


@dataclass
class RankingConfig:
    """Which items a target is ranked among: all (`candidates: null`), or so many, itself included."""

    candidates: int | None = None
    seed: int = 2024
    cutoffs: list[int] = field(default_factory=lambda: [1, 5, 10, 20])


@dataclass
class SlicesConfig:
    """The share of trained items, and of users, that is cold and that is warm; null: no such slice."""

    items: float | None = 0.35
    users: float | None = 0.35


class Inputs(Enum):
    """What models that score a row of the user's items read of a user when they are scored."""

    history = "history"
    recbole = "recbole"


class Refit(Enum):
    """Whether the model that is tested was trained on the valid part too."""

    none = "none"
    valid = "valid"


@dataclass
class ProtocolConfig:
    """Who is scored on what: the split, the rankings, the metrics, and the one that selects.

    `ratios` are the shares of train, valid and test (splits temporal and random), `cut_times` the
    times at which valid and test begin (temporal), `seed` draws the split (random, cold_items, cold_users),
    `history` is how many interactions of a held-out user are given (cold_users), `settings` are the keys of a
    split that are none of these. Of the users with
    a target, `scored_users` are scored in each phase, drawn once, the same for every model; null: all.
    `beyond` and `slices` concern the test phase alone.

    With `inputs: history` every model that can reads all that is known of a user before the target, at
    test the valid part too; with `recbole`, models that score a row of the user's items read the rows
    that they were trained on. With `refit: valid` the model is trained again on train and valid, for the
    epochs that the valid part chose, and that model is tested.
    """

    name: str = MISSING
    split: str = "loo"
    ratios: list[float] | None = None
    cut_times: list[float] | None = None
    seed: int | None = None
    history: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    scored_users: int | None = None
    inputs: Inputs = Inputs.history
    refit: Refit = Refit.none
    rankings: dict[str, RankingConfig] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=lambda: ["hit", "ndcg"])
    valid_metric: str = "full/ndcg_at_10"
    beyond: list[str] = field(
        default_factory=lambda: ["coverage", "gini", "popularity", "novelty", "diversity"]
    )
    slices: SlicesConfig = field(default_factory=SlicesConfig)


@dataclass
class TrackingConfig:
    """Where MLflow keeps the runs. `uri: null` keeps them in the run folders only.

    With `model` a finished run's artifacts hold a model that MLflow's own tools load and serve.
    """

    uri: str | None = "sqlite:///mlflow.db"
    artifacts: str | None = None
    model: bool = True


LLM_STEPS = ("understand", "ask", "say")
"""What a language model may do in a conversation: read messages, write SQL, word answers."""


@dataclass
class LLMClientConfig:
    """A language model that writes: a server at `base_url`, or `llm`, a file of conf/llm by name; none where both are null.

    `name` is the model's name, as the server knows it, `key_variable` the environment's variable that holds the server's
    key. A server may take `timeout` seconds to answer and is asked `retries` times more. `cache` keeps the answers at
    temperature 0 by the hash of what was asked.
    """

    base_url: str | None = None
    name: str = "default"
    llm: str | None = None
    key_variable: str = "PADDOCK_LLM_KEY"
    timeout: float = 60.0
    retries: int = 2
    cache: bool = True


@dataclass
class TalkConfig:
    """What `mode=talk` reads beside the run.

    `llm_steps` are what the language model of `llm_client` does, and the rules and templates do otherwise. With
    `suggest_outside` it may name something that is not in the catalogue, apart from the items, where they have nothing.

    `questions` is a YAML of your own sample questions to the data, `text_encoder` a file of
    conf/text_encoder by name; null: items are found by words alone. `feedback` is the database that the
    page's buttons write to. With `evaluate` no message is read: so many simulated `users` of the test part
    talk (null: all), the labelled messages of `labels` are read, and `judged` answers are judged by the language model,
    calibrated on the labelled `answers`; null: those of datasets/talk.
    """

    feedback: str = "sqlite:///feedback.db"
    questions: str | None = None
    text_encoder: str | None = None
    evaluate: bool = False
    users: int | None = 200
    labels: str | None = None
    answers: str | None = None
    judged: int = 30
    llm_steps: list[str] = field(default_factory=lambda: [*LLM_STEPS])
    suggest_outside: bool = False


@dataclass
class ServeConfig:
    """The HTTP service of mode=serve.

    `runs` maps names to runs that stand side by side; {} serves `run_id`, or the best run. `feedback` is the
    address of the database that keeps what users answer; null: none does. Similar and best items of a
    catalogue of more than `index_above` items are searched for by an approximate index where FAISS is installed;
    null: never.
    Queries are compared with texts by words and by `text_encoder`, a file of conf/text_encoder by name; auto: that
    of the run's model, else minilm where it is installed; null: words alone.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    runs: dict[str, str] = field(default_factory=dict)
    feedback: str | None = "sqlite:///feedback.db"
    index_above: int | None = 200_000
    text_encoder: str | None = "auto"


@dataclass
class Config:
    """The configuration of one command.

    `tuned` records where `+tuned=auto` took its values from. `grid_seeds` maps a model, as conf/model
    names it, to those of a grid's seeds that it takes; other models take all. `text_control` is the
    `control` of every text encoder (conf/text_encoder). `lists` is the file of another system's lists,
    and `name` what tables call it (mode=score). `warm_start` is a finished run whose weights training starts from. `alias` is what the registry calls a promoted run (mode=promote).
    """

    mode: Mode = Mode.run
    dataset: DatasetConfig = MISSING
    protocol: ProtocolConfig = MISSING
    model: dict[str, Any] = MISSING
    tracking: TrackingConfig = MISSING
    plugins: list[str] = field(default_factory=list)
    seed: int = 1
    grid_seeds: dict[str, list[int]] = field(default_factory=dict)
    text_control: str = "none"
    device: str = "auto"
    threads: int = 1
    precision: str = "auto"
    force: bool = False
    progress: bool = True
    checkpoint_seconds: float = 15.0
    runs_dir: str = "runs"
    data_dir: str = "datasets/prepared"
    run_id: str | None = None
    warm_start: str | None = None
    lists: str | None = None
    name: str | None = None
    alias: str = "champion"
    user: Any = None
    history: Any = None
    dislikes: Any = None
    exclude: Any = None
    profile: dict[str, Any] = field(default_factory=dict)
    query: str | None = None
    where: str | None = None
    out: str | None = None
    k: int = 10
    format: Format = Format.table
    serve: ServeConfig = field(default_factory=ServeConfig)
    llm_client: LLMClientConfig = field(default_factory=LLMClientConfig)
    messages: str | None = None
    talk: TalkConfig = field(default_factory=TalkConfig)
    tuned: dict[str, Any] = field(default_factory=dict)
