"""Search a large index with FAISS: few of its vectors are compared with a question.

    pip install -e '.[faiss]'

An inverted file (FAISS's IVF, 16 bits a number) stands beside the segments, made at the first
search and made anew when the index has changed. It proposes CANDIDATES times as many passages as
are asked for, whose scores are then computed exactly; so scores are those of an exact search, and
only a passage that was not proposed can be missed. How many lists are searched is measured, so that
RECALL of what an exact search finds is found.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from methods.documents import exact
from methods.documents.exact import Place
from methods.documents.index import Index
from methods.documents.segments import open_vectors
from methods.identity import digest

log = logging.getLogger(__name__)
EXACT_ROWS = 1_000_000  # up to which every vector is compared: 1.5 GB of 384 dimensions
CANDIDATES = 4
RECALL = 0.95  # of the TOP nearest of PROBES drawn vectors
PROBES, TOP = 100, 10
TRAINED_ROWS = 64  # for each list; FAISS wants 39 at least
NAME = "approximate"


def find_nearest(
    index: Index, questions_QD: np.ndarray, top: int
) -> list[list[tuple[Place, float]]]:
    """Return, for each question, (segment, row) and score of the nearest, as the exact search does.

    The inverted file is made if there is none of the index as it is.
    """
    if index.approximate is None:
        index.approximate = open_approximate(index)
    _, ids_QK = index.approximate.search(questions_QD.astype(np.float32), CANDIDATES * top)
    best = []
    for question_D, ids in zip(questions_QD, ids_QK.tolist(), strict=True):
        places = [decode_place(one) for one in ids if one >= 0]
        vectors = {number: open_vectors(index.folder, number) for number, _ in places}
        scores = [float(vectors[number][row] @ question_D) for number, row in places]
        found = sorted(zip(places, scores, strict=True), key=lambda one: (-one[1], one[0]))
        best.append(found[:top])
    return best


def encode_place(segment: int, rows: Any) -> Any:
    """Return one number for a row of a segment, as FAISS has ids."""
    return (segment << 32) | rows


def decode_place(place: int) -> Place:
    """Return segment and row."""
    return place >> 32, place & 0xFFFFFFFF


def open_approximate(index: Index) -> Any:
    """Open the inverted file of an index as it is, and make it where it is lacking."""
    faiss = import_faiss()
    state = digest([[name, *vars(e).values()] for name, e in sorted(index.entries.items())], 16)
    file = index.folder / f"{NAME}-{state}.faiss"
    with FileLock(index.folder / ".lock"):
        if not file.is_file():
            made = build_approximate(index)
            aside = index.folder / f".{NAME}"
            faiss.write_index(made, str(aside))
            for old in index.folder.glob(f"{NAME}-*.faiss"):
                old.unlink()
            aside.rename(file)
    return faiss.read_index(str(file), faiss.IO_FLAG_MMAP)


def build_approximate(index: Index) -> Any:
    """Return an inverted file of an index's vectors, and measure how many lists to search."""
    faiss = import_faiss()
    total, draw = len(index), np.random.default_rng(0)
    lists = max(1, min(int(4 * total**0.5), total // TRAINED_ROWS))
    drawn_ND, share = [], lists * TRAINED_ROWS / total
    for _, _, vectors_ND in index.iterate_blocks():
        drawn_ND.append(vectors_ND[draw.random(len(vectors_ND)) < share])
    trained_ND = np.concatenate(drawn_ND)
    size = trained_ND.shape[1]
    made = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(size),
        size,
        min(lists, len(trained_ND)),
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
    )
    made.train(trained_ND)
    with tqdm(total=total, desc="approximate index", unit="passage", delay=3) as bar:
        for number, rows, vectors_ND in index.iterate_blocks():
            made.add_with_ids(vectors_ND, encode_place(number, rows.astype(np.int64)))
            bar.update(len(rows))
    probes_PD = trained_ND[draw.permutation(len(trained_ND))[:PROBES]]
    nearest = exact.find_nearest(index, probes_PD, TOP)
    ids = [{encode_place(*place) for place, _ in one} for one in nearest]
    found = set_lists(made, probes_PD, ids)
    log.info(
        "%s: %d passages in %d lists, %d are searched, which find %.1f%% of the %d nearest",
        index.folder, total, made.nlist, made.nprobe, 100 * found, TOP,
    )  # fmt: skip
    return made


def set_lists(made: Any, probes_PD: np.ndarray, wanted: list[set[int]]) -> float:
    """Let as many lists be searched as find RECALL of the exact neighbours; return that share."""
    found, made.nprobe = 0.0, 1
    while True:
        _, places_PK = made.search(probes_PD, CANDIDATES * TOP)
        pairs = zip(places_PK.tolist(), wanted, strict=True)
        found = float(np.mean([len(own & set(places)) / len(own) for places, own in pairs]))
        if found >= RECALL or made.nprobe >= made.nlist:
            return found
        made.nprobe = min(2 * made.nprobe, made.nlist)


def import_faiss() -> Any:
    """Return the module faiss. Raises ValueError, saying how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise ValueError(
            f"search=faiss needs the package faiss-cpu ({error}); pip install -e '.[faiss]', or "
            f"search=exact"
        ) from error
    return faiss


def has_faiss() -> bool:
    """Return whether the module faiss can be imported."""
    try:
        import_faiss()
    except ValueError:
        return False
    return True
