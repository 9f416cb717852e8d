"""A-LLMRec: the model, the frozen networks that it is made from, and how it prompts and ranks."""

from models.allmrec.model import ALLMRec

__all__ = ["ALLMRec"]
