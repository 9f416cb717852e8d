"""A-LLMRec at a size that trains in a second or two: words of the command line."""

SMALL = [
    "model.backbone.epochs=2",
    "model.backbone.hidden_size=8",
    "model.backbone.inner_size=8",
    "model.llm.steps=3",
    "model.llm.width=16",
    "model.llm.heads=2",
    "model.rerank=4",
    "model.stages.align.epochs=2",
    "model.stages.llm.epochs=1",
    "model.stages.llm.eval_step=1",
    "model.stages.llm.train_batch_size=16",
]
