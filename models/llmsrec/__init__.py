"""LLM-SRec: a frozen language model whose reading of a history is taught what a sequential recommender knows."""

from models.llmsrec.model import LLMSRec

__all__ = ["LLMSRec"]
