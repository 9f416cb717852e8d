"""What visitors answer to the survey: the last answers of each, kept beside the feedback."""

import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from experiments.serving.feedback import FeedbackStore

if TYPE_CHECKING:
    from sqlalchemy import Table

_TABLE = "paddock_survey"


class SurveyAnswers:
    """The table of survey answers in the database of feedback; it is made where it is missing.

    Parameters
    ----------
    store : FeedbackStore

    Raises
    ------
    PaddockError
        The database fails.
    """

    def __init__(self, store: FeedbackStore) -> None:
        self._store = store
        store.make_tables(self._table.metadata)

    def keep(self, session: str, profile: Mapping[str, str]) -> None:
        """Keep a visitor's answers in place of those that he gave before.

        Parameters
        ----------
        session : str
        profile : mapping of str to str
            Column to value.

        Raises
        ------
        PaddockError
            The database fails.
        """
        table, now = self._table, time.time()
        rows = [
            {"session": session, "column": column, "value": value, "time": now}
            for column, value in profile.items()
        ]
        with self._store.transaction() as connection:
            connection.execute(table.delete().where(table.columns.session == session))
            if rows:
                connection.execute(table.insert(), rows)

    def values(self, column: str) -> list[str]:
        """What each visitor answered to a question.

        Parameters
        ----------
        column : str

        Raises
        ------
        PaddockError
            The database fails.
        """
        import sqlalchemy

        columns = self._table.columns
        asked = sqlalchemy.select(columns.value).where(columns.column == column)
        with self._store.transaction() as connection:
            return list(connection.execute(asked.order_by(columns.session)).scalars())

    @cached_property
    def _table(self) -> "Table":
        from sqlalchemy import Column, Double, MetaData, Table, Text

        return Table(
            _TABLE,
            MetaData(),
            Column("session", Text, primary_key=True),
            Column("column", Text, primary_key=True),
            Column("value", Text, nullable=False),
            Column("time", Double, nullable=False),
        )
