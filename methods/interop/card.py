"""Write the README of an exported folder: how to load it, what reads it, what it scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods.backbone.loader import BackboneSpec
from methods.backbone.sources import Hub
from methods.interop.scores import Score
from methods.provenance import find_commit

if TYPE_CHECKING:
    from methods.interop.export import Export, Written

VERSIONS = ("sentence-transformers", "transformers", "torch")
# Stock pooling -> llama.cpp's --pooling; it has none that weighs positions.
LLAMA_CPP = {"lasttoken": "last", "mean_tokens": "mean", "cls_token": "cls"}
TEI = ("mistral", "qwen2", "qwen3", "gemma3", "gemma3_text")  # not llama; others: not looked up


@dataclass(frozen=True)
class Card:
    """What the README is made from."""

    job: Export
    spec: BackboneSpec
    config: Any
    written: Written
    scores: Sequence[Score]


def write_card(card: Card, folder: Path) -> None:
    """Write README.md, with the metadata that model pages read."""
    parts = [
        _make_header(card),
        _describe_origin(card),
        _describe_loading(card),
        _describe_prompts(card),
        _describe_equality(card),
        _describe_scores(card),
        _describe_servers(card),
    ]
    (folder / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _make_header(card: Card) -> str:
    lines = ["---", "library_name: sentence-transformers", "pipeline_tag: sentence-similarity"]
    lines += ["tags:", "- sentence-transformers", "- feature-extraction", "- dec2vec"]
    if isinstance(card.spec.source, Hub):
        lines += [f"base_model: {card.spec.source.id}"]
    return "\n".join([*lines, "---"])


def _describe_origin(card: Card) -> str:
    method, spec = type(card.job.method), card.spec
    first = (method.__doc__ or method.__name__).strip().splitlines()[0]
    adapters = [Path(adapter).name for adapter in spec.adapters]
    merged = f", with {' and '.join(adapters)} merged" if adapters else ""
    packages = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    commit = find_commit()["commit"]
    return (
        f"# {card.job.name} on {spec.name}\n\n{first} The weights are those of {spec.name}"
        f"{merged}, in {spec.dtype}; the language-model head is not among them. Their licence "
        f"holds for this folder too: state it above (`license:`) before you share it.\n\n"
        f"```bash\n{card.job.command}\n```\n\n"
        f"{date.today()}, dec2vec {f'commit {commit}' if commit else ''}, {packages}."
    )


def _describe_loading(card: Card) -> str:
    custom = card.written.kind == "custom"
    trust = ", trust_remote_code=True" if custom else ""
    needs = "6 or later" if custom else "5 or later"
    code = ""
    if custom:
        code = (
            f"\n\nThe folder holds the method's own code, {len(card.written.code)} files, which "
            f"`trust_remote_code=True` allows to run ({card.written.reason}). Begin reading at "
            f"`dec2vec_module.py`; dec2vec need not be installed."
        )
    attention = card.job.method.attention
    return (
        f"## Load it\n\nWith sentence-transformers {needs}:\n\n```python\n"
        f"from sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("DIR"{trust})\n'
        f'queries = model.encode_query(["how do I boil an egg"])\n'
        f'documents = model.encode_document(["eggs, six minutes"])\n'
        f"print(model.similarity(queries, documents))\n```\n\n"
        f"In bfloat16, half the memory and faster where the hardware computes in it:\n\n"
        f"```python\nmodel = SentenceTransformer("
        f'"DIR"{trust}, model_kwargs={{"dtype": "bfloat16"}})\n```\n\n'
        f"Attention is {attention}"
        f"{' (`is_causal: false` in config.json)' if attention == 'bidirectional' else ''}. "
        f"Texts may have {card.job.method.max_length} tokens.{code}"
    )


def _describe_prompts(card: Card) -> str:
    if card.written.layout is not None:
        texts = dict(card.written.layout.prompts)
        about = "stands in front of the text; sentence-transformers puts it there"
    else:
        texts = {one.name: one.text for one in card.job.prompts}
        about = "names the side and is not put in front of the text"
        if card.job.method.uses_instructions:
            about += "; any other text given as a prompt is the instruction of a query"
    lines = [
        "## Sides",
        "",
        "`encode_query`, `encode_document`, or `encode(texts, prompt_name=NAME)`. "
        f"A prompt {about}.",
        "",
        "| name | prompt |",
        "|---|---|",
        *(f"| {name} | {_quote(text)} |" for name, text in texts.items()),
        "",
        _describe_consumers(texts["query"], texts["document"]),
    ]
    method = card.job.method
    if method.normalize and method.unnormalized:
        kinds = ", ".join(method.unnormalized)
        lines += ["", f"Vectors have unit length. dec2vec does not scale those of mteb's {kinds}."]
    if method.queries_only:
        kinds = ", ".join(method.queries_only)
        lines += ["", f"In mteb's {kinds} dec2vec encodes documents as queries."]
    return "\n".join(lines)


def _describe_consumers(query: str, document: str) -> str:
    """Return what frameworks must be told, since they do not pass saved prompts on."""
    if not query and not document:
        return "Both sides are encoded alike, so LlamaIndex and LangChain need no prompt."
    return (
        f"LlamaIndex overwrites saved prompts: give its HuggingFaceEmbedding "
        f"`query_instruction={query!r}` and `text_instruction={document!r}`. LangChain's "
        f"HuggingFaceEmbeddings takes `encode_kwargs={{'prompt_name': 'document'}}` and "
        f"`query_encode_kwargs={{'prompt_name': 'query'}}`; it replaces line breaks by blanks."
    )


def _quote(text: str) -> str:
    shown = text.replace("\n", "\\n").replace("|", "\\|")
    return f"`{shown}`" if shown else "(none)"


def _describe_equality(card: Card) -> str:
    found = card.written.equality
    lines = [
        "## Equality",
        "",
        f"Loaded again in {found.dtype}, {found.same_ids} of {found.texts} texts (24 under each "
        f"prompt: empty, blanks, CJK, emoji, literal special tokens, too long ...) had the token "
        f"ids that dec2vec gives them; the smallest cosine of a vector with dec2vec's was "
        f"{found.smallest_cosine:.7f}.",
    ]
    if found.deviations:
        lines += ["", f"{len(found.deviations)} texts deviate:", ""]
        lines += [f"* {str(deviation)}" for deviation in found.deviations]
    return "\n".join(lines)


def _describe_scores(card: Card) -> str:
    if not card.scores:
        given = ", ".join(card.job.records)
        why = f"{given} has none of this method and model" if given else "none were given"
        return f"## Scores\n\nNo recorded scores: {why} (`records=RUNS`)."
    rows = [
        f"| {s.task} | {s.split} | {s.subset} | {s.metric} | {s.value:.2f} | {s.dtype} | "
        f"{(s.date or '')[:10]} | {s.commit or ''} |"
        for s in card.scores
    ]
    head = "| task | split | subset | metric | score x 100 | computed in | date | dec2vec commit |"
    return "\n".join(
        [
            "## Scores",
            "",
            "Recorded by `dec2vec evaluate` for this method, model and adapters (same digest).",
            "",
            head,
            "|---|---|---|---|---:|---|---|---|",
            *rows,
        ]
    )


def _describe_servers(card: Card) -> str:
    layout = card.written.layout
    if layout is None:
        return (
            "## Servers\n\nTEI and vLLM do not read this layout: they build ids and pool by rules "
            "of their own. No pooling of llama.cpp fits either; with `--pooling none` it gives "
            "states, which you pool yourself. infinity and Ollama were not tried. Serve the folder "
            "with sentence-transformers."
        )
    pooling = LLAMA_CPP.get(layout.pooling)
    kind = card.config.model_type
    vllm = f"this folder's is {pooling.upper()}" if pooling else "it has no weighted mean"
    llama = f"of llama.cpp's poolings `{pooling}` fits" if pooling else "no llama.cpp pooling fits"
    if card.job.method.attention == "bidirectional":
        vllm += "; it obeys `is_causal: false` for Llama"
        llama += "; its converter reads `is_causal: false`"
    tei = {True: "it lists", False: "not looked up:"}[kind in TEI]
    tei = "it does not list" if kind == "llama" else tei
    return (
        f"## Servers\n\nNone was run with this folder; this is what their sources say. vLLM reads "
        f"the layout: its poolings are CLS, LAST and MEAN, {vllm}. TEI reads it for the "
        f"architectures that it lists ({tei} `{kind}`). In a GGUF file, {llama}. infinity wants "
        f"numpy below 2 and was not tried, nor was Ollama. Send the prompts above with the texts "
        f"where a server does not add them."
    )
