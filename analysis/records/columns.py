"""The columns of the tidy frame, as lists: pandas takes a tuple for one key."""

# How vectors lie in their space (methods/evaluation/geometry.py): on every task, and on tasks whose
# examples are pairs.
SPACE = ["mean_cosine", "uniformity", "effective_rank", "top_dimension", "top_components"]
PAIRS = ["alignment", "centred", "whitened"]
GEOMETRY = [*SPACE, *PAIRS]
TRAINING = [
    *("trained_on", "pooler", "seed", "steps", "learning_rate", "train_seconds", "trained_as"),
]
COLUMNS = [
    *("source", "reports", "model", "revision", "adapters", "method", "options", "attention"),
    *("pooling", "layer", "post", "fitted_on", "dtype", "instructions", "digest", "default"),
    *("task", "type", "split"),
    *("subset", "metric", "score", "score_error", "status", "message", "data", "code", "engine"),
    *("dataset_revision", "statistic", "unit", "texts", "cut_texts", "tokens", "tokens_computed"),
    *("tokens_per_second", "seconds", "peak_memory_mib", "linear_weights", "vector_bytes"),
    *("device", "threads"),
    *GEOMETRY,
    *TRAINING,
    *("commit", "date", "command", "runs", "folder", "schema", "record", "benchmark"),
]
# Rows that are equal in all of these are of the same cell.
CELL = [
    *("model", "revision", "adapters", "method", "options", "attention", "pooling", "layer"),
    *("post", "dtype", "instructions", "digest"),
]
