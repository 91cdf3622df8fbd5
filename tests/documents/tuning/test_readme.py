"""The README's commands and code for training on documents run, on the tiny model."""

import shlex

from hydra.core.global_hydra import GlobalHydra

from methods.cli.arguments import check_arguments, split_arguments
from methods.config.resolve import compose
from methods.documents.tuning.build import build_tuning_job
from tests.documents.test_readme import find_block

TINY = ["model=tiny", "model.dtype=float32", "documents.max_tokens=600"]
TINY += ["recipe.batch_size=2", "documents.validation=0.3"]


def test_the_commands_build_a_training(docs, monkeypatch):
    monkeypatch.chdir(docs.parent)
    lines = [shlex.split(line, comments=True) for line in find_block("bash", 1).splitlines()]
    assert [line[:3] for line in lines[:-1]] == [
        *[["dec2vec", "train", "experiment=own_documents"]] * 3,
        ["dec2vec", "train", "-m"],
    ]
    assert lines[-1][:3] == ["dec2vec", "ask", "docs"]
    for line in lines[:-1]:
        options, words = split_arguments(line[2:])
        check_arguments("train", options, words)
        given = [w for w in words if w.split("=")[0] not in ("run.seed", "model", "method")]
        given += ["method=sgpt", *TINY]
        assert not GlobalHydra.instance().is_initialized()
        job = build_tuning_job(compose(given, verb="train"), title="own", overrides=given)
        assert job.material.sets and job.train.data.sources.keys() == {"titles", "cloze"}


def test_the_code_ranks_and_scores(docs, monkeypatch, capsys):
    monkeypatch.chdir(docs.parent)
    code = find_block("python", 1)
    loaded = 'load_encoder("sentence_encoder")'
    assert loaded in code
    tiny = 'load_encoder("sgpt", model="tiny", dtype="float32", cache=None)'
    code = code.replace(loaded, tiny).replace(
        'read_passages("docs",', 'read_passages("docs", max_tokens=600,'
    )
    exec(code, {})
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(" {")[0] for line in shown] == ["BM25 human", "zero-shot human"]
    assert "'ndcg@10': 1.0" in shown[0]
