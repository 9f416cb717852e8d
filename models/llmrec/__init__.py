"""A language model that is tuned to recommend, by low-rank adapters."""

from models.llmrec.model import LLMRec

__all__ = ["LLMRec"]
