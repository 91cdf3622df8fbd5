"""Run in a process of its own that has sentence-transformers and cannot import dec2vec.

    python reload.py TEXTS.json OUT.npz DIR ...

Writes the vectors of every folder, by both ways of naming a side, and whether its attention is
bidirectional: whether changing the last token moves the state at the first position.
"""

import json
import sys
from pathlib import Path


class Absent:
    """An import finder to which dec2vec is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("methods", "analysis", "hydra", "mteb"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def probe(model):
    """The largest change of the first position's state when the last token changes."""
    texts = ["one two three a", "one two three b"]
    one, other = model.encode(texts, output_value="token_embeddings")
    return float((one[0] - other[0]).abs().max())


def main(texts, out, *folders):
    sys.meta_path.insert(0, Absent())
    import numpy as np
    from sentence_transformers import SentenceTransformer

    texts = json.loads(Path(texts).read_text(encoding="utf-8"))
    found = {}
    for folder in folders:
        custom = (
            "sentence_transformers"
            not in json.loads((Path(folder) / "modules.json").read_text())[0]["type"]
        )
        name = Path(folder).name
        model = SentenceTransformer(folder, device="cpu", trust_remote_code=custom)
        found[f"{name}.query"] = model.encode_query(texts)
        found[f"{name}.document"] = model.encode_document(texts)
        found[f"{name}.named"] = model.encode(texts, prompt_name="document")
        found[f"{name}.alike"] = model.encode(texts)
        found[f"{name}.reach"] = probe(model)
        found[f"{name}.dimension"] = model.get_embedding_dimension()
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
