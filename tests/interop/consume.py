"""Load exported folders as another program does, in an environment of its own.

    python consume.py KIND SPEC.json OUT.npz

SPEC holds the texts and the folders, each with its prompts. Written are the vectors of both sides,
the versions, and what was answered by the kinds that answer.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path


def use_sentence_transformers(one, texts):
    """Plain sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(one["path"], device="cpu", trust_remote_code=one["custom"])
    return model.encode_query(texts, batch_size=8), model.encode_document(texts, batch_size=8)


def use_llama_index(one, texts):
    """LlamaIndex: prompts are given again, since it overwrites saved ones."""
    model = load_llama_index(one)
    return [model.get_query_embedding(text) for text in texts], model.get_text_embedding_batch(
        texts
    )


def load_llama_index(one):
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    return HuggingFaceEmbedding(
        model_name=one["path"],
        device="cpu",
        trust_remote_code=one["custom"],
        query_instruction=one["query"],
        text_instruction=one["document"],
        normalize=False,
        embed_batch_size=8,
    )


def use_langchain(one, texts):
    """LangChain's own class, which replaces line breaks by blanks."""
    from langchain_huggingface import HuggingFaceEmbeddings

    model = HuggingFaceEmbeddings(
        model_name=one["path"],
        model_kwargs={"device": "cpu", "trust_remote_code": one["custom"]},
        encode_kwargs={"prompt_name": "document", "batch_size": 8},
        query_encode_kwargs={"prompt_name": "query"},
    )
    return [model.embed_query(text) for text in texts], model.embed_documents(texts)


def use_langchain_ours(one, texts):
    """LangChain's interface over load_encoder: methods/interop/langchain.py."""
    from methods import load_encoder
    from methods.interop.langchain import make_embeddings

    encoder = load_encoder(one["method"], cache=None, dtype="float32", **one["fields"])
    model = make_embeddings(encoder, instruction=one["instruction"])
    return [model.embed_query(text) for text in texts], model.embed_documents(texts)


def use_llama_index_to_answer(one, texts):
    """An index and a query in LlamaIndex: one model in memory embeds and generates."""
    from llama_index.core import PromptTemplate, Settings, VectorStoreIndex
    from llama_index.core.schema import TextNode
    from llama_index.llms.huggingface import HuggingFaceLLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    embedding = load_llama_index(one)
    before = embedding.get_query_embedding(one["question"])
    whole = AutoModelForCausalLM.from_pretrained(one["path"]).eval()
    embedding._model[0].model = whole.get_decoder()  # its own copy is dropped
    whole.generation_config.pad_token_id = whole.config.eos_token_id
    llm = HuggingFaceLLM(
        model=whole,
        tokenizer=AutoTokenizer.from_pretrained(one["path"]),
        max_new_tokens=12,
        generate_kwargs={"do_sample": False},
    )
    Settings.llm, Settings.embed_model = llm, embedding
    index = VectorStoreIndex([TextNode(text=text) for text in one["passages"]])
    prompt = PromptTemplate("{context_str}\n\nQuestion: {query_str}\nAnswer:")
    engine = index.as_query_engine(similarity_top_k=1, text_qa_template=prompt)
    answer = engine.query(one["question"])
    after = embedding.get_query_embedding(one["question"])
    found = {"passage": answer.source_nodes[0].node.get_content(), "answer": str(answer).strip()}
    found["moved"] = max(abs(a - b) for a, b in zip(before, after, strict=True))
    return found


PACKAGES = (
    *("sentence-transformers", "transformers", "torch", "llama-index-core"),
    *("llama-index-embeddings-huggingface", "langchain-core", "langchain-huggingface"),
)


def main(kind, spec, out):
    import numpy as np

    spec = json.loads(Path(spec).read_text(encoding="utf-8"))
    use, arrays, notes = globals()[f"use_{kind}"], {}, {}
    for one in spec["folders"]:
        found = use(one, spec["texts"])
        if isinstance(found, dict):
            notes[one["name"]] = found
            continue
        for side, vectors in zip(("query", "document"), found, strict=True):
            arrays[f"{one['name']}.{side}"] = np.asarray(vectors, dtype=np.float32)
    for package in PACKAGES:
        try:
            notes.setdefault("versions", {})[package] = version(package)
        except ModuleNotFoundError:
            pass
    np.savez(out, notes=json.dumps(notes), **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
