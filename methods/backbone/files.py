"""Check that files are whole before anything reads them; errors give the path and the reason."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

POINTER = b"version https://git-lfs.github.com/spec"
SHARD = re.compile(r"model-\d+-of-(\d+)\.safetensors")
INDEX = "model.safetensors.index.json"


def refuse_adapter(folder: Path) -> None:
    """Raise ValueError for an adapter's folder given as a model.

    transformers would silently add an adapter that lies beside a model's own files.
    """
    if (folder / "adapter_config.json").is_file():
        both = (folder / "config.json").is_file()
        raise ValueError(
            f"{folder} holds {'an adapter beside a model' if both else 'an adapter, not a model'} "
            f"(adapter_config.json); give an adapter in a folder of its own, as adapter=DIR, and "
            f"the model it was trained on as the model"
        )


def check_folder(folder: Path) -> None:
    """Raise ValueError unless a model folder is complete.

    Complete: no Git LFS pointers, no empty or truncated files, every shard and its index present.
    """
    for file in sorted(folder.glob("*")):
        if file.is_file() and file.suffix in (".json", ".model"):
            check_file(file)
    if (folder / "model.safetensors").is_file():
        files = ["model.safetensors"]
    elif (folder / INDEX).is_file():
        index = _read(folder / INDEX)
        named = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(named, dict) or not named:
            raise ValueError(f"{folder / INDEX} names no shards (weight_map); fetch it again")
        files = sorted(set(named.values()))
    else:
        found = sorted(p.name for p in folder.glob("*.safetensors"))
        lacks = INDEX if any(SHARD.fullmatch(name) for name in found) else "model.safetensors"
        raise ValueError(
            f"{folder} lacks {lacks}: it has {', '.join(found[:3])}, which transformers does not "
            f"load by themselves; fetch the whole folder, or save the model with save_pretrained"
        )
    lacking = [name for name in files if not (folder / name).is_file()]
    if lacking:
        raise ValueError(
            f"{folder} lacks {len(lacking)} of {len(files)} shards that its index names, first: "
            f"{lacking[0]}; fetch the whole folder"
        )
    for name in files:
        check_safetensors(folder / name)


def check_file(file: Path) -> None:
    """Raise ValueError for a file that is empty or a Git LFS pointer."""
    with file.open("rb") as stream:
        start = stream.read(len(POINTER))
    if start == POINTER:
        raise ValueError(
            f"{file} is a Git LFS pointer, not the file itself: run `git lfs pull` where it lies"
        )
    if not start:
        raise ValueError(f"{file} is empty; fetch it again")


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON, it may be cut short: {error}") from error


def check_safetensors(file: Path) -> None:
    """Raise ValueError, with the path, unless a file has the size that its header states."""
    check_file(file)
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(
                f"{file} cannot be read: it is no safetensors file, or it may be cut short ({size} "
                f"bytes); fetch or save it again"
            )
        try:
            header: Mapping[str, Any] = json.loads(stream.read(length))
            ends = [about["data_offsets"][1] for n, about in header.items() if n != "__metadata__"]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{file} is no safetensors file: {error}; fetch it again") from error
    if size != (whole := 8 + length + max(ends, default=0)):
        raise ValueError(
            f"{file} cannot be read, it may be cut short: it has {size} bytes, its header says "
            f"{whole}; fetch or save it again"
        )


def check_gguf(file: Path) -> None:
    """Raise ValueError, with the path, unless a file begins as GGUF files do."""
    check_file(file)
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ValueError(f"{file} is no GGUF file: it does not begin with GGUF")
