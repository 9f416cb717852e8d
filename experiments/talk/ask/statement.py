"""Which SQL may run: one SELECT over known tables, made of what a list allows and nothing else.

What the list does not name is refused, whatever it is: functions that read files, settings, statements that write,
table functions, recursion. DuckDB is locked besides (`tables.py`); this is the first of two walls.
"""

from collections.abc import Mapping, Sequence

import sqlglot
from sqlglot import exp

from experiments.errors import PaddockError

LONGEST = 4000
"""Characters of a statement."""

DEEPEST = 60
"""Levels of nesting of a statement."""

_NODES: tuple[type[exp.Expression], ...] = (
    *(exp.Select, exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered),
    *(exp.Limit, exp.Offset, exp.Distinct, exp.Subquery, exp.With, exp.CTE, exp.TableAlias),
    *(exp.Union, exp.Except, exp.Intersect, exp.Table, exp.Column, exp.Identifier, exp.Alias),
    *(exp.Star, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Tuple, exp.Neg, exp.Not),
    *(exp.And, exp.Or, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In),
    *(exp.Is, exp.Like, exp.ILike, exp.Exists, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod),
    *(exp.IntDiv, exp.DPipe, exp.Case, exp.If, exp.Cast, exp.TryCast, exp.DataType, exp.Window),
    *(exp.WindowSpec, exp.Filter, exp.Var, exp.Qualify),
)
"""What a statement may be made of, functions aside."""

_TYPES = frozenset(
    {
        "INT",
        "INTEGER",
        "BIGINT",
        "DOUBLE",
        "FLOAT",
        "DECIMAL",
        "TEXT",
        "VARCHAR",
        "BOOLEAN",
        "DATE",
        "TIMESTAMP",
    }
)

FUNCTIONS = frozenset(
    [
        "count",
        "count_if",
        "sum",
        "avg",
        "min",
        "max",
        "median",
        "stddev",
        "variance",
        "mode",
        "corr",
        "quantile",
        "quantile_cont",
        "percentile_cont",
        "arg_min",
        "arg_max",
        "any_value",
        "round",
        "abs",
        "floor",
        "ceil",
        "ceiling",
        "sqrt",
        "ln",
        "log",
        "exp",
        "power",
        "pow",
        "sign",
        "greatest",
        "least",
        "coalesce",
        "nullif",
        "ifnull",
        "if",
        "case",
        "cast",
        "try_cast",
        "lower",
        "upper",
        "length",
        "trim",
        "substring",
        "substr",
        "replace",
        "concat",
        "starts_with",
        "contains",
        "list_contains",
        "array_contains",
        "len",
        "list_sort",
        "row_number",
        "rank",
        "dense_rank",
        "percent_rank",
        "ntile",
        "lag",
        "lead",
        "first_value",
        "last_value",
        "year",
        "month",
        "day",
        "date_trunc",
        "timestamp_trunc",
        "to_timestamp",
        "epoch_ms",
        "extract",
        "current_date",
        "exists",
        "and",
        "or",
        "between",
        "in",
        "not",
    ]
)
"""The functions of a statement, by their names in SQL."""


def checked_statement(sql: str, tables: Mapping[str, Sequence[str]]) -> str:
    """A statement that is safe to run, as it will run.

    Parameters
    ----------
    sql : str
        DuckDB's SQL.
    tables : mapping of str to sequence of str
        The tables it may read, with their columns.

    Returns
    -------
    str
        The statement, formatted; comments are left out.

    Raises
    ------
    PaddockError
        It is too long, no SQL, more than one statement, no SELECT, or reads or calls what it may not.
    """
    if len(sql) > LONGEST:
        raise PaddockError(f"the SQL has {len(sql):,} characters; {LONGEST:,} are the most")
    tree = _parsed(sql)
    if not isinstance(tree, exp.Select | exp.SetOperation):
        raise PaddockError(
            f"the SQL is a {type(tree).__name__.upper()}: only one SELECT is run here"
        )
    known = {name.casefold() for name in tables}
    named = {each.alias.casefold() for each in tree.find_all(exp.CTE)}
    if both := sorted(known & named):
        raise PaddockError(f"the SQL calls a part of its own {both[0]}, as a table is called")
    for node in tree.walk():
        _check_node(node, known | named)
    return tree.sql(dialect="duckdb", pretty=True, comments=False)


def _parsed(sql: str) -> "exp.Expr":
    try:
        statements = [each for each in sqlglot.parse(sql, dialect="duckdb") if each is not None]
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError) as error:
        raise PaddockError(f"the SQL cannot be read: {_first_line(error)}") from None
    if len(statements) != 1:
        raise PaddockError(f"the SQL holds {len(statements)} statements: give one SELECT")
    (tree,) = statements
    if any(node.depth > DEEPEST for node in tree.walk()):
        raise PaddockError(f"the SQL is nested more than {DEEPEST} levels deep")
    return tree


def _check_node(node: "exp.Expr", tables: set[str]) -> None:
    if isinstance(node, exp.Table):
        _check_table(node, tables)
    elif isinstance(node, exp.DataType):
        if node.sql(dialect="duckdb").split("(")[0].upper() not in _TYPES:
            raise PaddockError(f"the SQL uses the type {node.sql()}: it may not")
    elif isinstance(node, exp.With) and node.args.get("recursive"):
        raise PaddockError("the SQL is recursive: it may not be")
    elif isinstance(node, exp.Select) and not node.expressions:
        raise PaddockError("the SQL selects nothing: name columns behind SELECT")
    elif isinstance(node, exp.Select) and (node.args.get("into") or node.args.get("locks")):
        raise PaddockError("the SQL writes or locks: only a plain SELECT is run here")
    elif isinstance(node, exp.Star) and any(node.args.get(key) for key in ("replace", "rename")):
        raise PaddockError("the SQL replaces columns of *: name the columns")
    elif isinstance(node, exp.Func) and not isinstance(node, _NODES):
        _check_function(node)
    elif not isinstance(node, (*_NODES, exp.Func)):
        raise PaddockError(f"the SQL uses {type(node).__name__}: it may not")


def _check_table(node: exp.Table, tables: set[str]) -> None:
    plain = isinstance(node.this, exp.Identifier) and not (
        node.args.get("db") or node.args.get("catalog")
    )
    if not plain or node.name.casefold() not in tables:
        raise PaddockError(
            f"the SQL reads {node.sql(dialect='duckdb')[:80]}: there are only the tables "
            f"{', '.join(sorted(tables))}"
        )
    extra = {key for key, value in node.args.items() if value} - {"this", "alias", "joins"}
    if extra:
        raise PaddockError(f"the SQL reads a table with {sorted(extra)[0]}: name the table alone")


def _check_function(node: exp.Func) -> None:
    names = (
        [node.name] if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc) else node.sql_names()
    )
    if not {name.casefold() for name in names} & FUNCTIONS:
        raise PaddockError(f"the SQL calls {names[0].lower()}: it may not")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["nested too deeply"])[0][:200]
