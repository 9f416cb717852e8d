"""A reader of lines USER>ITEM@TIME."""

from experiments.data.readers.delimited import Dialect, read_delimited
from experiments.data.readers.table import Tables
from paddock import reader


@reader("arrows", columns=True)
def read_arrows(sources, columns, required, reader):  # type: ignore[no-untyped-def]
    """Lines of three cells, separated by tabs, without a header."""
    inter = read_delimited(
        sources.inter,
        {name: name for name in required},
        required=required,
        types={columns["user"]: "token", columns["item"]: "token", columns["time"]: "time"},
        dialect=Dialect(separator="\t", header=[columns["user"], columns["item"], columns["time"]]),
        tidy=False,
    )
    return Tables(inter, None, None)
