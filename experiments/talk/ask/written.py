"""SQL that a language model writes for a question; it passes the same walls as any other."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.errors import PaddockError
from experiments.talk.ask.tables import Table, Tables
from experiments.talk.prompts import DATA_ONLY, as_data, turns

if TYPE_CHECKING:
    from experiments.language.client import Client
    from experiments.language.writer import Messages

SCHEMA = {
    "type": "object",
    "properties": {"sql": {"type": "string"}},
    "required": ["sql"],
    "additionalProperties": False,
}

TASK = (
    "You write SQL for DuckDB: one SELECT that answers a question about the tables, with a LIMIT where many rows may "
    "come. What stands in braces in an example is a value of its question. Nothing else can run: no function that "
    f"reads files, no setting, no other table. {DATA_ONLY}"
)


def written_answer(
    client: "Client", question: str, tables: Tables, samples: Sequence[tuple[str, str]]
) -> Table:
    """What the SQL of a language model gives.

    Parameters
    ----------
    client : Client
    question : str
    tables : Tables
        Its check holds for this SQL as for any other.
    samples : sequence of (question, SQL)
        How questions were answered.

    Raises
    ------
    PaddockError
        The model does not answer, or writes nothing that may run.
    """
    known: Mapping[str, Mapping[str, str]] = tables.types
    asked = turns(
        TASK,
        "\n".join(
            [
                as_data("tables", known),
                as_data("examples", [*samples]),
                as_data("question", question),
            ]
        ),
    )
    sql = _sql(client, asked)
    try:
        return tables.answer(sql)
    except PaddockError as error:
        # What is wrong is said once, and that may mend it.
        again = f"That cannot run ({error}). Write it again."
        asked += [{"role": "assistant", "content": sql}, {"role": "user", "content": again}]
    return tables.answer(_sql(client, asked))


def _sql(client: "Client", asked: "Messages") -> str:
    return str(client.structured(asked, SCHEMA)["sql"]).strip().removesuffix(";")
