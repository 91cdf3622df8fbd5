"""`dec2vec train` as a user runs it."""

import json

from tests.cli.test_evaluate import dec2vec
from tests.documents.tuning.conftest import write_docs


def pairs(folder):
    rows = [
        {"query": f"cat {i} on a road", "positive": f"a cat {i}", "negative": f"no {i}"}
        for i in range(32)
    ]
    file = folder / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def arguments(folder, *more):
    return [
        "model=tiny",
        "model.dtype=float32",
        "data=file",
        f"data.sources.mine.path={pairs(folder)}",
        "recipe.steps=3",
        "recipe.batch_size=8",
        "runs=runs",
        *more,
    ]


def test_a_controlled_comparison_trains_scores_and_ends_in_its_table(tmp_path):
    words = ["experiment=fair_supervised", "method=sgpt,llm2vec", "evaluate.names=[DemoReuters]"]
    more = ["evaluate.splits=null", "evaluate.subsets=null"]
    code, output = dec2vec("train", *arguments(tmp_path, *words, *more), cwd=tmp_path)
    assert code == 0, output
    gains = (tmp_path / "runs" / "report" / "fair_supervised" / "gains.md").read_text()
    assert gains.count("| sgpt (demo)") == 1 and gains.count("| llm2vec (demo)") == 1
    assert "DemoReuters zero-shot" in gains and "dec2vec train -m" in gains
    records = [json.loads(f.read_text()) for f in tmp_path.rglob("record/run.json")]
    assert len(records) == 4 and sum(bool(r["training"]) for r in records) == 2


def test_bad_data_ends_with_a_message_and_a_sweep_goes_on(tmp_path):
    given = arguments(tmp_path, "recipe=demo", "data.sources.mine.columns.query=question")
    code, output = dec2vec("train", *given, cwd=tmp_path)
    assert code == 1 and "no column question; it has: query, positive, negative" in output
    assert "Traceback" not in output
    given = arguments(tmp_path, "recipe=demo", "recipe.trainable.kind=bitfit,added_bias")
    code, output = dec2vec("train", "-m", *given, cwd=tmp_path)
    assert code != 0 and "BitFit would train nothing" in output
    assert len(list(tmp_path.rglob("training.json"))) == 1


def test_documents_are_trained_on_under_several_seeds_and_joined(tmp_path):
    docs = write_docs(tmp_path)
    words = ["train", "-m", "experiment=own_documents", "docs=docs", "documents.max_tokens=600"]
    words += ["documents.questions=headings", "method=sgpt", "model=tiny", "model.dtype=float32"]
    words += ["recipe.steps=2", "run.every=2", "recipe.batch_size=4"]
    code, output = dec2vec(*words, "run.seed=1,2", cwd=tmp_path)
    assert code == 0 and "2 jobs: 2 to do" in output, output
    assert "mean over the seeds 1, 2" in output and "dec2vec ask docs adapter=runs/" in output
    assert len(list(tmp_path.glob("runs/documents/docs_*/seeds_sgpt_*.md"))) == 1
    records = sorted(tmp_path.rglob("documents/record.json"))
    before = [file.stat().st_mtime_ns for file in records]
    code, output = dec2vec(*words, "run.seed=1,2", cwd=tmp_path)
    assert code == 0 and "2 jobs: 2 done" in output and "trained and scored already" in output
    assert [file.stat().st_mtime_ns for file in records] == before and len(before) == 2
    for file in docs.iterdir():
        file.unlink()
    code, output = dec2vec(*[word for word in words if word != "-m"], cwd=tmp_path)
    assert code == 1 and "docs=docs holds no document that can be read" in output
    code, output = dec2vec("train", "experiment=own_documents", cwd=tmp_path)
    assert code == 1 and "docs is empty; give docs=VALUE" in output, output
