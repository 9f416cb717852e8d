"""The columns of the users' own file, for models that read them."""

from collections.abc import Sequence

from experiments.config.values import nearest
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from paddock import UserColumn


def user_features(data: Prepared, wanted: Sequence[str] | None) -> dict[str, UserColumn]:
    """The columns of the users by name, without the ids.

    Parameters
    ----------
    data : Prepared
        The prepared data set.
    wanted : sequence of str or None
        Names of columns; None: all.

    Raises
    ------
    PaddockError
        If a wanted column is none of the users'.
    """
    types = dict(list(data.feature_types.get("user", {}).items())[1:])
    for name in wanted or ():
        if name not in types:
            known = nearest(name, types) if types else "they have no columns"
            raise PaddockError(
                f"model.user_columns holds {name}, which is no column of the users of {data.name}: "
                f"{known}"
            )
    names = types if wanted is None else wanted
    return {
        name: UserColumn(types[name], [None, *data.user_features[name].to_list()]) for name in names
    }
