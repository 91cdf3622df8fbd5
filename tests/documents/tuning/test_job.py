"""From documents to a table, with the tiny model; what is finished is not repeated."""

import gzip
import json
import logging

import numpy as np
import pandas as pd
import pytest

from methods import load_encoder
from methods.documents.tuning import encoders
from methods.documents.tuning.job import TuningJob
from methods.documents.tuning.seeds import find_groups, join_seeds, write_seed_tables
from methods.training.job import TrainJob
from tests.documents.synthesis.test_endpoint import serve

CLOZE = ("documents.pairs=[cloze]", "documents.heldout=0.5")
ROWS = ["BM25", "zero-shot", "query adapter", "fine-tuned"]


@pytest.fixture
def made(monkeypatch):
    """What was computed, in order."""
    found = []

    def watch(holder, name, title):
        plain = getattr(holder, name)

        def watched(*args, **more):
            found.append(title(args, more))
            return plain(*args, **more)

        monkeypatch.setattr(holder, name, watched)

    watch(TuningJob, "_rank_bm25", lambda *_: "BM25")
    watch(TrainJob, "prepare", lambda *_: "training")
    watch(
        __import__("methods.documents.tuning.job", fromlist=["job"]),
        "open_encoder",
        lambda _, more: "trained" if more["trained"] else "untrained",
    )
    return found


def test_documents_become_a_model_and_a_table(tune, made, docs):
    job = tune("documents.questions=headings", "documents.heldout=0.5")
    folder = job.run()
    assert made == ["BM25", "untrained", "training", "trained"]
    table = pd.read_csv(folder / "documents" / "table.csv")
    assert list(table["set"].unique()) == ["human", "cloze"]
    assert list(table[table["set"] == "human"]["row"]) == ROWS
    human = table[table["set"] == "human"].set_index("row")
    assert human["ndcg@10"]["BM25"] > 60 and human["questions"]["BM25"] == 18
    assert (human["low"].dropna() <= human["difference"].dropna()).all()
    text = (folder / "documents" / "table.md").read_text()
    assert "18 questions over 48 passages" in text and "Documents were split: 24 passages" in text
    scores = pd.read_csv(folder / "documents" / "scores.csv.gz")
    own = scores[(scores["set"] == "human") & (scores["row"] == "BM25")]
    assert 100 * own["ndcg@10"].mean() == pytest.approx(human["ndcg@10"]["BM25"])
    record = json.loads((folder / "documents" / "record.json").read_text())
    assert record["seed"] == 1 and record["rows"]["fine-tuned"]["note"].startswith("step ")
    assert record["validation_scores"]["fine_tuned"] is not None
    encoder = load_encoder(adapter=str(folder), model="tiny", dtype="float32", cache=None)
    assert encoder.encode(["a kettle"]).shape == (1, 32)


def test_what_is_finished_is_not_repeated(tune, made):
    folder = tune().run()
    before = {f: f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    del made[:]
    assert tune().is_finished and tune().run() == folder and not made
    assert before == {f: f.read_bytes() for f in before}
    for name in ("record.json", "rows/BM25.json.gz"):
        (folder / "documents" / name).unlink()
    assert not tune().is_finished
    tune().run()
    assert made == ["BM25"]
    for name in ("record.json", "rows/fine-tuned.json.gz"):
        (folder / "documents" / name).unlink()
    tune().run()
    assert made == ["BM25", "trained"]


def test_a_changed_document_is_another_training(tune, docs):
    first = tune()
    with (docs / "boat.md").open("a") as file:
        file.write(
            "\n\n## How do I paint a boat?\n\nWith a wide brush and with oil, on a dry day.\n"
        )
    second = tune()
    assert first.train.folder != second.train.folder and first.shared != second.shared


def test_validation_equals_what_training_validates_on(tune):
    job = tune("recipe.learning_rate=1e-9")  # what is trained is what was there
    folder = job.run()
    scores = json.loads((folder / "documents" / "record.json").read_text())["validation_scores"]
    assert scores["fine_tuned"] == pytest.approx(scores["zero_shot"], abs=1e-4)
    rows = {}
    for name in ("zero-shot", "fine-tuned"):
        file = folder / "documents" / "rows" / f"{name}.json.gz"
        rows[name] = json.loads(gzip.decompress(file.read_bytes()))["row"]["ranked"]
    assert rows["zero-shot"] == rows["fine-tuned"]


def test_seeds_are_joined_over_the_same_questions(tune, tmp_path):
    for seed in (1, 2):
        tune(f"run.seed={seed}", *CLOZE).run()
    ((_, folders),) = find_groups(tmp_path / "runs").items()
    assert len(folders) == 2
    joint = join_seeds(folders).set_index("row")
    single = [pd.read_csv(one / "table.csv").set_index("row") for one in folders]
    both = np.array([one.loc["fine-tuned", "ndcg@10"] for one in single])
    assert joint.loc["fine-tuned", "mean"] == pytest.approx(both.mean())
    assert joint.loc["fine-tuned", "spread"] == pytest.approx(both.std(ddof=1))
    assert joint.loc["zero-shot", "spread"] == 0
    gaps = [one.loc["fine-tuned", "difference"] for one in single]
    assert joint.loc["fine-tuned", "difference_mean"] == pytest.approx(np.mean(gaps))
    (file,) = write_seed_tables(tmp_path / "runs")
    assert "mean over the seeds 1, 2" in file.read_text()


def test_references_are_rows_too(tune, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = load_encoder("sgpt", model="tiny", cache=None).backbone.tokenizer
    static = StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))

    def respond(number, body, headers):
        rows = [{"index": n, "embedding": [len(t), 1]} for n, t in enumerate(body["input"])]
        return 200, {"data": rows[::-1]}, {}

    with serve(respond) as (url, bodies):
        references = f"documents.reference=[{tmp_path}/static,{{url: '{url}', model: lengths}}]"
        folder = tune(references, *CLOZE).run()
        assert {body["model"] for body in bodies} == {"lengths"}
    table = pd.read_csv(folder / "documents" / "table.csv")
    assert list(table["row"]) == [*ROWS, "static", "lengths"]


def test_what_cannot_be_trained_is_told_before_a_model_is_loaded(tune, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(encoders, "build_encoder", refuse)
    monkeypatch.setattr(TrainJob, "prepare", refuse)
    empty, one = tmp_path / "empty", tmp_path / "one"
    empty.mkdir()
    one.mkdir()
    (one / "a.md").write_text("# A\n\nOne passage alone.\n")
    (tmp_path / "asked.csv").write_text("question,answer\nWho was it?,nobody at all\n")
    for place, words, message in [
        (empty, [], "holds no document that can be read; give a folder of txt"),
        (one, [], "has 1 passage of 600 tokens, which cannot be split .*documents.max_tokens=64"),
        (tmp_path / "gone", [], "gone is neither a folder nor a file"),
        (None, [f"documents.questions={tmp_path}/asked.csv"], "none of 1 questions matches"),
        (None, ["estimate=true"], "estimate=true estimates no training on documents"),
        (None, ["data=file"], "data=file: docs=DIR makes the training data"),
        (None, ["recipe.batch_size=500"], "fewer than a batch; give recipe.batch_size="),
        (None, ["run.every=9"], "run.every=9 is more than recipe.steps=2"),
        (None, ["recipe.objective=mntp"], "docs=DIR makes pairs, and recipe.objective=mntp"),
    ]:
        with pytest.raises(ValueError, match=message):
            tune(*words, **({} if place is None else {"docs": place}))
    for file in empty.parent.glob("docs/*.md"):
        file.write_text(f"# {file.stem}\n\nA text of {file.stem} without any question at all.\n")
    with pytest.raises(ValueError, match="no heading in .* is a question"):
        tune("documents.questions=headings")


def test_training_that_does_not_help_is_told(tune, caplog, monkeypatch):
    monkeypatch.setattr("methods.documents.tuning.job.validate", lambda *_: 1.0)
    with caplog.at_level(logging.INFO):
        tune(*CLOZE).run()
    assert "training did not help there, so keep the zero-shot model" in caplog.text
