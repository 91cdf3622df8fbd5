"""`make interop`: export every method, load it as other programs do, and write the table.

    python -m tests.interop [--model smollm2_135m] [--out runs/reference/interop.md]

Each program gets an environment of its own under build/interop, made once. The vectors that it
gives 24 texts on both sides are compared with load_encoder's, in float32.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from methods.folders import ROOT
from methods.interop.equality import NEAR, compare_vectors, list_texts
from methods.provenance import find_commit

log = logging.getLogger("interop")
BUILD = ROOT / "build" / "interop"
INSTRUCTION = "Given a question, retrieve passages that answer it"
LENGTH = 128  # tokens of a row at most
METHODS = {
    "cpt_text": {},
    "udever": {},
    "sgpt": {},
    "repllama": {},
    "prompteol": {},
    "echo": {},
    "e5_instruct": {},
    "llm2vec": {"doc_max_length": 100},
    "sentence_encoder": {},
    "shout": {},
}
OURS = ["peft", "hydra-core", "lmdb", "gguf", "accelerate", "tqdm"]  # what load_encoder imports


@dataclass(frozen=True)
class Consumer:
    """A program: its column, what is installed for it, and how consume.py uses it.

    alone: installed without what it depends on. stock: it is shown stock folders only.
    constrained: within this repository's constraints.
    """

    title: str
    kind: str
    room: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()
    stock: bool = False
    constrained: bool = True


ST = "sentence-transformers>=6,<7"
LANGCHAIN = ("langchain", ("langchain-core>=1.2", ST, *OURS), ("langchain-huggingface>=1.2",))
LLAMA = ("llama-index-core", "llama-index-embeddings-huggingface", "llama-index-llms-huggingface")
CONSUMERS = (
    Consumer("sentence-transformers 6", "sentence_transformers", "st6", (ST,)),
    Consumer(
        *("sentence-transformers 5", "sentence_transformers", "st57"),
        ("sentence-transformers>=5.7,<5.8", "torch==2.13.0"),
        stock=True,
        constrained=False,
    ),
    Consumer("LlamaIndex", "llama_index", "llamaindex", (*LLAMA, ST)),
    Consumer("LangChain, its class", "langchain", *LANGCHAIN),
    Consumer("LangChain, ours", "langchain_ours", *LANGCHAIN),
)
ANSWERS = Consumer("", "llama_index_to_answer", "llamaindex", (*LLAMA, ST))
PASSAGES = [
    "The museum opens at nine in the morning and closes at five.",
    "Eggs are boiled for six minutes, then cooled in cold water.",
    "The river rises in the mountains and flows into the northern sea.",
]


def install(consumer: Consumer) -> Path:
    """Return the Python of a consumer's environment, which is made unless it is there."""
    room = BUILD / consumer.room / ".venv"
    python, done = room / "bin" / "python", room / "installed"
    wanted = repr((consumer.packages, consumer.alone))
    if not done.is_file() or done.read_text() != wanted:
        log.info("installing %s into %s", ", ".join(consumer.packages), room)
        subprocess.run([sys.executable, "-m", "venv", str(room)], check=True)
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        within = ["-c", str(ROOT / "constraints.txt")] if consumer.constrained else []
        subprocess.run([*pip, *within, *consumer.packages], check=True)
        if consumer.alone:
            subprocess.run([*pip, "--no-deps", *consumer.alone], check=True)
        done.write_text(wanted)
    return python


def export(name: str, model: str, place: Path, config_dir: str) -> dict[str, Any]:
    """Export a method; return what consume.py is told, and the vectors that are right."""
    from methods.cli.export import build_export
    from methods.config.resolve import compose
    from methods.interop.export import run_export

    fields = {"max_length": LENGTH, **METHODS[name]}
    words = [f"method={name}", f"out={place / name}"]
    words += [f"method.{key}={value}" for key, value in fields.items()]
    words += [] if name == "sentence_encoder" else [f"model={model}"]
    if name in ("e5_instruct", "llm2vec"):
        words.append(f"instruction='{INSTRUCTION}'")
    config = compose(words, verb="export", config_dir=config_dir)
    job = build_export(config, name=name, overrides=words, config_dir=config_dir)
    written = run_export(job)
    assert written is not None
    custom = written.kind == "custom"
    texts = {one.name: one.text for one in job.prompts}
    texts = texts if written.layout is None else dict(written.layout.prompts)
    own = {} if name == "sentence_encoder" else {"model": model}
    return {
        "name": name,
        "path": str(job.out),
        "custom": custom,
        "query": texts["query"],
        "document": texts["document"],
        "method": name,
        "instruction": job.prompts[0].instruction,
        "fields": {**fields, **own, "config_dir": config_dir},
        "job": job,
    }


def compute_wanted(one: dict[str, Any], texts: list[str]) -> dict[str, np.ndarray]:
    """Return the vectors of load_encoder for both sides."""
    from methods.backbone.loader import load_backbone
    from methods.encoding.encoder import Encoder

    job = one.pop("job")
    encoder = Encoder(load_backbone(replace(job.spec, dtype="float32")), job.method)
    how: dict[str, Any] = {"instruction": one["instruction"]} if one["instruction"] else {}
    return {
        "query": encoder.encode(texts, prompt_type="query", **how),
        "document": encoder.encode(texts, prompt_type="document"),
    }


def consume(consumer: Consumer, spec: dict[str, Any], place: Path) -> dict[str, Any]:
    """Return the vectors that a consumer gives, by name and side, and its notes."""
    file, out = place / f"{consumer.kind}.json", place / f"{consumer.room}_{consumer.kind}.npz"
    file.write_text(json.dumps(spec), encoding="utf-8")
    ours = {"PYTHONPATH": str(ROOT)} if consumer.kind.endswith("ours") else {"PYTHONPATH": ""}
    environment = {**os.environ, **ours, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(place)}
    script = Path(__file__).with_name("consume.py")
    command = [install(consumer), script, consumer.kind, file, out]
    log.info("%s", consumer.title or consumer.kind)
    subprocess.run([str(word) for word in command], cwd=place, env=environment, check=True)
    found = dict(np.load(out))
    return {**found, "notes": json.loads(str(found["notes"]))}


def describe_cell(found: dict[str, Any], one: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return how many of a method's vectors a consumer gives, and the smallest cosine."""
    pairs = [
        pair
        for side in ("query", "document")
        if f"{one['name']}.{side}" in found
        for pair in zip(found[f"{one['name']}.{side}"], wanted[side], strict=True)
    ]
    if not pairs:
        return "–"
    cosines = [compare_vectors(*pair)[0] for pair in pairs]
    same = sum(cosine >= NEAR["float32"] for cosine in cosines)
    lowest = "" if same == len(pairs) else f" (lowest cosine {min(cosines):.5f})"
    return f"{same} of {len(pairs)}{lowest}"


def write_plugin(folder: Path) -> str:
    """Write the plugin of the top README into a folder; return its config folder."""
    import re

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:python|yaml)\n(# mine/.+?)^```", readme, re.S | re.M):
        name = block.split("\n", 1)[0].removeprefix("# ")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(block, encoding="utf-8")
    return str(folder / "mine")


def run(model: str, out: Path, place: Path) -> None:
    """Write the table of all methods and all consumers."""
    from methods.config.plugins import make_importable

    config_dir = write_plugin(place)
    make_importable(config_dir)
    exported = {name: export(name, model, place / "exports", config_dir) for name in METHODS}
    texts = list_texts(_load_tokenizer(exported["echo"]["job"].spec), LENGTH)
    wanted = {name: compute_wanted(one, texts) for name, one in exported.items()}
    rows = {
        name: {"modules": "custom" if one["custom"] else "stock"} for name, one in exported.items()
    }
    versions: dict[str, str] = {}
    for consumer in CONSUMERS:
        shown = [one for one in exported.values() if not (consumer.stock and one["custom"])]
        found = consume(consumer, {"texts": texts, "folders": shown}, place)
        about = found["notes"]["versions"]
        versions[consumer.title] = ", ".join(f"{name} {v}" for name, v in about.items())
        for name, one in exported.items():
            rows[name][consumer.title] = describe_cell(found, one, wanted[name])
    table = pd.DataFrame(rows).T.rename_axis("method").reset_index()
    question = {**exported["echo"], "passages": PASSAGES, "question": "How long are eggs boiled?"}
    answer = consume(ANSWERS, {"texts": [], "folders": [question]}, place)["notes"]["echo"]
    foot = [
        f"`python -m tests.interop`, {date.today()}, commit {find_commit()['commit']}, {model}, "
        f"float32, rows of {LENGTH} tokens at most. A vector counts as equal from cosine "
        f"{NEAR['float32']}.",
        "",
        *(f"* {title}: {text}" for title, text in versions.items()),
        "",
        f"LlamaIndex over the exported echo, one model in memory for both: asked "
        f"{question['question']!r} it found {answer['passage']!r} and generated from it; vectors "
        f"afterwards differ by {answer['moved']:g}.",
    ]
    text = table.to_markdown(index=False, disable_numparse=True)
    out.write_text(text + "\n\n" + "\n".join(foot) + "\n", encoding="utf-8")
    print(out.read_text(encoding="utf-8"))


def _load_tokenizer(spec: Any) -> Any:
    from methods.backbone.loader import load_backbone

    return load_backbone(replace(spec, dtype="float32")).tokenizer


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    parser.add_argument("--model", default="smollm2_135m")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "reference" / "interop.md")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    with tempfile.TemporaryDirectory(prefix="dec2vec-interop-") as place:
        run(arguments.model, arguments.out, Path(place))


if __name__ == "__main__":
    main()
