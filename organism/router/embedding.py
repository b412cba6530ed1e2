"""Embeddings under the name they had first; they have a room of their own now: :mod:`organism.llm.embeddings`. Pure."""

from organism.llm.embeddings import BYTES_PER_NUMBER, EmbeddingRequest, Embeddings, pack

__all__ = ["BYTES_PER_NUMBER", "EmbeddingRequest", "Embeddings", "pack"]
