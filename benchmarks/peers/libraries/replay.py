"""RePlay: its SasRec on Lightning, by its own Parquet module and transforms."""

import lightning
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.pytorch.callbacks import Callback
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.data.nn.parquet.parquet_module import ParquetModule
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.sequential import SasRec
from replay.nn.transform.template.sasrec import make_default_sasrec_transforms

PACKAGES = ("replay-rec", "lightning", "torch", "numpy", "pyarrow")
ITEM = "item_id"


def sasrec(task):
    torch.set_num_threads(task.threads)
    pa.set_cpu_count(task.threads)
    lightning.seed_everything(task.seed)
    settings = dict(task.settings)
    batch = settings.pop("batch_size")
    rate = settings.pop("learning_rate")
    longest = settings["max_sequence_length"]
    task.facts["reads_valid_item"] = True
    schema = TensorSchema(
        [
            TensorFeatureInfo(
                ITEM,
                is_seq=True,
                feature_type=FeatureType.CATEGORICAL,
                embedding_dim=settings["embedding_dim"],
                padding_value=task.n_items,
                cardinality=task.n_items,
                feature_hint=FeatureHint.ITEM_ID,
                feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, ITEM)],
            )
        ]
    )
    model = SasRec.from_params(schema, **settings)

    @torch.no_grad()
    def score(phase, users_B):
        model.eval()
        items_BL = torch.from_numpy(task.padded(phase, users_B, longest, left=True))
        found = model(feature_tensors={ITEM: items_BL}, padding_mask=items_BL != task.n_items)
        return found["logits"][:, : task.n_items].numpy()

    path = str(task.folder / "train.parquet")
    # One row a user: a row of fewer than two items has no target.
    rows = [list(each) for each in task.lists("valid", longest + 1) if len(each) > 1]
    pq.write_table(pa.table({ITEM: pa.array(rows, type=pa.list_(pa.int64()))}), path)
    data = ParquetModule(
        batch_size=batch,
        metadata={"train": {ITEM: {"shape": longest + 1, "padding": task.n_items}}},
        transforms={"train": make_default_sasrec_transforms(schema)["train"]},
        train_path=path,
    )
    trainer = lightning.Trainer(**task.lightning(Callback, score), limit_val_batches=0)
    factory = OptimizerFactory(learning_rate=rate)
    trainer.fit(LightningModule(model, optimizer_factory=factory), datamodule=data)


MODELS = {"sasrec": sasrec}
