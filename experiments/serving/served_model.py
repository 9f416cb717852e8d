"""The code that MLflow executes to open a run's model (`mlflow models serve`, `mlflow.pyfunc.load_model`).

It needs Paddock installed; data and weights come with the model.
"""

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


# MLflow warns of a model without types; of a table it takes none for a signature, which the model has already.
class ServedRecommender(PythonModel):
    """A finished run that answers rows of requests with rows of recommendations."""

    def load_context(self, context):  # type: ignore[no-untyped-def]
        """Open the model that lies around its artifact `packed`."""
        # MLflow executes this file while it writes the model, which must not take seconds.
        from experiments.serving.packed import open_packed

        self._recommender = open_packed(context.artifacts["packed"])

    def predict(self, context, model_input: pd.DataFrame, params=None):  # type: ignore[no-untyped-def]
        """A row of recommendations for each row of requests.

        Parameters
        ----------
        context
            MLflow's.
        model_input : pandas.DataFrame
            Columns `user`, `history`, `query` and `where`, each of them optional.
        params : dict, optional
            `k`, the length of a list.
        """
        from experiments.serving.packed import answered

        return answered(self._recommender, model_input, k=int((params or {}).get("k", 10)))


set_model(ServedRecommender())
