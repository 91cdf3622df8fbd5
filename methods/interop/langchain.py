"""LangChain's Embeddings over an encoder: two methods, and texts stay as they are.

LangChain's own HuggingFaceEmbeddings replaces line breaks by blanks, so that a chunk of several
lines gets another vector than everywhere else, and must be told each side's prompt.
"""

from __future__ import annotations

from typing import Any

from methods.encoding.encoder import Encoder


def make_embeddings(encoder: Encoder, *, instruction: str | None = None) -> Any:
    """Return what LangChain's vector stores take: an `Embeddings` (langchain-core) of an encoder.

    instruction: of queries, for a method that uses one.

    >>> store = InMemoryVectorStore(make_embeddings(load_encoder("echo")))  # doctest: +SKIP
    """
    from langchain_core.embeddings import Embeddings  # pyright: ignore[reportMissingImports]

    class EncoderEmbeddings(Embeddings):
        """Vectors of documents, and of a query."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return encoder.encode(texts, prompt_type="document").tolist()

        def embed_query(self, text: str) -> list[float]:
            given: Any = {"prompt_type": "query", "instruction": instruction}
            return encoder.encode([text], **given)[0].tolist()

    return EncoderEmbeddings()
