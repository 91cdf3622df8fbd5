"""Batches of rows by a budget of tokens."""

from collections.abc import Iterator, Sequence


def make_batches(lengths: Sequence[int], batch_tokens: int, *, packed: bool) -> Iterator[list[int]]:
    """Yield rows, longest first, in batches of at most `batch_tokens` tokens (or of one row).

    Where batches are padded, every row counts as the longest of its batch.
    """
    batch: list[int] = []
    tokens = 0
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        cost = lengths[row] if packed or not batch else lengths[batch[0]]
        if batch and tokens + cost > batch_tokens:
            yield batch
            batch, tokens, cost = [], 0, lengths[row]
        batch.append(row)
        tokens += cost
    if batch:
        yield batch
