"""Files of a user's own: one good task of every kind, as small as it can be."""

import json

PAIRS = [
    ("a dog runs", "a puppy is running", "4.5"),
    ("a cat sleeps", "the sun, it is hot", "0.5"),
    ("we eat bread", "they bake bread", "2"),
    ("a man plays a flute", "a man makes music", "3.5"),
    ("ice is cold", "the car is red", "0"),
]
TOPICS = {
    "sport": ["the team won", "a late goal", "the coach is happy", "tennis final today"],
    "food": ["bread and butter", "a soup of onions", "bake it slowly", "salt and pepper"],
    "space": ["the rocket flew", "mars has two moons", "a star collapsed", "a probe in orbit"],
}
CORPUS = {
    "d0": "Boil eggs for six minutes.",
    "d1": "Rome was founded long ago.",
    "d2": "A dog needs walks.",
    "d3": "Bread is baked in ovens.",
}
QUERIES = {"q1": "how do I boil an egg", "q2": "history of rome", "q3": "how to bake bread"}
RELEVANT = {"q1": ["d0"], "q2": ["d1"], "q3": ["d3"]}


def write(folder, name, text):
    """Write a file and return its path."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def write_pairs(folder, name="pairs.csv", rows=PAIRS, header="sentence1,sentence2,score"):
    lines = [",".join(f'"{cell}"' for cell in row) for row in rows]
    return write(folder, name, "\n".join([header, *lines]) + "\n")


def list_texts():
    """Every text with its topic, the topics in turns."""
    return [(texts[at], topic) for at in range(4) for topic, texts in TOPICS.items()]


def write_topics(folder, name="topics.csv", header="text,label", split=None):
    rows = list_texts()
    cells = [(*row, *([split(at)] if split else [])) for at, row in enumerate(rows)]
    return write(folder, name, "\n".join([header, *map(",".join, cells)]) + "\n")


def write_duplicates(folder, name="duplicates.jsonl"):
    rows = list_texts()[:6]
    objects = [
        {"sentence1": a, "sentence2": b, "label": int(one == other)}
        for a, one in rows
        for b, other in rows
        if a < b
    ]
    return write(folder, name, "".join(json.dumps(row) + "\n" for row in objects))


def write_beir(folder, name="my_beir", **files):
    """Write a BEIR folder; files: other text for corpus, queries or test (qrels)."""
    corpus = [{"_id": key, "title": "", "text": text} for key, text in CORPUS.items()]
    queries = [{"_id": key, "text": text} for key, text in QUERIES.items()]
    qrels = [f"{query}\t{found[0]}\t1" for query, found in RELEVANT.items()]
    usual = {
        "corpus.jsonl": "\n".join(map(json.dumps, corpus)),
        "queries.jsonl": "\n".join(map(json.dumps, queries)),
        "qrels/test.tsv": "\n".join(["query-id\tcorpus-id\tscore", *qrels]),
    }
    for file, text in {**usual, **files}.items():
        if text is not None:
            write(folder / name, file, text + "\n")
    return folder / name


def write_llama_index(folder, name="qa.json", **parts):
    content = {"queries": QUERIES, "corpus": CORPUS, "relevant_docs": RELEVANT, "mode": "text"}
    return write(folder, name, json.dumps({**content, **parts}))
