"""The columns of the users' own file, for models that read them."""

from collections.abc import Sequence

from experiments.config.values import nearest
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from paddock import UserColumn


def user_features(
    data: Prepared, wanted: Sequence[str] | None, *, needed_by: str | None = None
) -> dict[str, UserColumn]:
    """The columns of the users by name, without the ids and without lists of numbers.

    Parameters
    ----------
    data : Prepared
        The prepared data set.
    wanted : sequence of str or None
        Names of columns; None: all.
    needed_by : str, optional
        The model that can do nothing without a column.

    Raises
    ------
    PaddockError
        If a wanted column is none of the users', or there is none that is needed.
    """
    types = dict(list(data.feature_types.get("user", {}).items())[1:])
    types = {name: kind for name, kind in types.items() if kind != "float_seq"}
    if needed_by is not None and not types:
        raise PaddockError(
            f"{data.name} has no columns of its users, from which alone {needed_by} learns: give it a "
            "file of users, NAME.user beside NAME.inter or dataset.files.user=FILE, or take model=pop"
        )
    if needed_by is not None and wanted is not None and len(wanted) == 0:
        raise PaddockError(
            f"model.user_columns=[] leaves {needed_by} nothing to learn from: choose of "
            f"{', '.join(types)}, or null for all"
        )
    for name in wanted or ():
        if name not in types:
            known = nearest(name, types) if types else "they have no columns that can be read"
            raise PaddockError(
                f"model.user_columns holds {name}, which is no column of the users of {data.name}: "
                f"{known}"
            )
    names = types if wanted is None else wanted
    return {
        name: UserColumn(types[name], [None, *data.user_features[name].to_list()]) for name in names
    }
