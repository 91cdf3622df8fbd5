"""From a config to an adapter folder that encodes as it was trained."""

import json
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from methods import load_encoder
from methods.config.resolve import CONF, compose, list_choices
from methods.training import data
from methods.training.config import build_train_job
from methods.training.module import Collator, MethodModule
from methods.training.trainer import NotFinite
from tests.command import ROOT, Command

POOLER = [f"recipe.trainable.pooler.{size}" for size in ("latents=4", "heads=2", "head_size=8")]
TEXTS = ["a cat on a road", "two ships", "red", "one slow blue tree under the moon"]


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def vectors(method, adapter=None, **more):
    encoder = load_encoder(
        method, model="tiny", dtype="float32", cache=None, adapter=adapter, **more
    )
    return encoder.encode(TEXTS)


@pytest.mark.parametrize("recipe", [r for r in list_choices("recipe")])
def test_every_recipe_composes_and_says_what_it_follows(recipe):
    text = (CONF / "recipe" / f"{recipe}.yaml").read_text()
    overrides = ["data.folder=x"] if "data: e5_public" in text else []
    overrides += ["data.sources.mine.path=x"] if "data: file" in text else []
    config = compose([f"recipe={recipe}", "model=tiny", *overrides], verb="train")
    job = build_train_job(config, title=recipe, overrides=[])
    assert text.splitlines()[1].startswith("# ")
    if "demo" in recipe:
        assert (job.recipe.steps or 999) <= 150
        assert all(source.wheel for source in job.data.sources.values())


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("sgpt", []),
        ("llm2vec", []),
        ("prompteol", ["recipe.trainable.kind=added_bias"]),
        ("udever", ["method.delimiters=new", "recipe.trainable.rows=[new_tokens]"]),
        ("echo", ["recipe.trainable.rows=[eos]", "method.template=instruct"]),
        ("e5_instruct", ["recipe.temperature_is=learned", "recipe.symmetric=true"]),
        ("cpt_text", ["recipe.mini_batch=4"]),
        ("cpt_text", [*POOLER, "recipe.trainable.pooler.kind=multi_layer", "method.pooling=mean"]),
        ("llm2vec", [*POOLER, "recipe.trainable.pooler.kind=latent_attention", "run.every=2"]),
    ],
)
def test_an_adapter_encodes_as_it_was_trained(train, prepared, method, more):
    job = train(f"method={method}", "recipe.learning_rate=1e-2", *more)
    folder = job.run()
    backbone = prepared[0].backbone
    options = {"delimiters": "new"} if method == "udever" else {}
    options |= {"template": "instruct"} if method == "echo" else {}
    options |= {"pooling": job.method.pooling}
    encoder = load_encoder(
        method, model="tiny", dtype="float32", cache=None, adapter=str(folder), **options
    )
    phrased = encoder.method.phrase_instruction("Find it")  # as evaluation does
    found = encoder.method.prepare_inputs(
        TEXTS, tokenizer=encoder.backbone.tokenizer, instruction=phrased
    )
    module = MethodModule(backbone, job.method, backbone.model.eval(), packed=False)
    collator = Collator(job.method, backbone.tokenizer)
    rows = [{"query": text, "instruction": "Find it", "symmetric": True} for text in TEXTS]
    features = {k.removeprefix("query_"): v for k, v in collator(rows).items()}
    assert features["input_ids"][0][: len(found.ids[0])].tolist() == found.ids[0]
    with torch.inference_mode():
        trained = module(features)["sentence_embedding"].numpy()
    if job.method.normalize:
        trained /= np.linalg.norm(trained, axis=1, keepdims=True)
    merged = encoder.encode(TEXTS, instruction=phrased)
    assert np.allclose(merged, trained, atol=2e-4)
    if method != "udever":
        plain = load_encoder(method, model="tiny", dtype="float32", cache=None, **options)
        untrained = plain.encode(TEXTS, instruction=phrased)
        if backbone.trained_pooling is not None:
            state = weights(folder)
            assert any(t.any() for name, t in state.items() if "lora_B" in name)
        else:
            assert not np.allclose(merged, untrained, atol=1e-2)


def test_training_packed_is_training_padded(train):
    found = []
    for packed in (True, False):
        job = train(
            f"kernel.packed={str(packed).lower()}", "method=llm2vec", out=f"packed_{packed}"
        )
        found.append(weights(job.run()))
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-5) for name in found[0])


def test_the_number_of_trained_parameters_is_logged(train):
    folder = train("method=sgpt").run()
    output = json.loads((folder / "training.json").read_text())
    assert output["base"]["weights"].startswith("random:") and output["steps"] == 6
    assert output["data"]["sources"]["mine"]["rows"] == 64 and output["trained"] < output["of"]
    curve = pd.read_csv(folder / "loss.csv")
    assert list(curve["step"]) == [1, 2, 3, 4, 5, 6] and curve["loss"].notna().all()
    assert (folder / "loss.png").stat().st_size > 5000
    assert not (folder / "checkpoints").exists()
    before = (folder / "adapter_model.safetensors").stat().st_mtime_ns
    train("method=sgpt").run()
    assert (folder / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_the_modules_of_an_adapter_are_written_in_one_order(train):
    folder = train("recipe.steps=1", "recipe.trainable.targets=all-linear").run()
    targets = json.loads((folder / "adapter_config.json").read_text())["target_modules"]
    assert len(targets) > 4 and targets == sorted(targets)


def test_an_adapter_stack_contains_its_parents(train):
    first = train(
        "method=llm2vec",
        "recipe.objective=mntp",
        "recipe.masking.length=16",
        "recipe.learning_rate=1e-2",
        "data.sources.mine.columns.text=query",
        out="mntp",
    ).run()
    second = train("method=llm2vec", f"adapter={first}", "recipe.learning_rate=1e-2").run()
    alone = vectors("llm2vec", str(second))
    assert np.allclose(alone, vectors("llm2vec", [str(first), str(second)]))
    assert not np.allclose(alone, vectors("llm2vec", str(first)), atol=1e-2)
    moved = second.parent / "moved"
    second.rename(moved)
    first.rename(first.parent / "gone")
    assert np.allclose(alone, vectors("llm2vec", str(moved)))


def test_an_adapter_of_another_base_is_refused(train):
    folder = train("method=sgpt").run()
    file = folder / "training.json"
    output = json.loads(file.read_text())
    output["base"]["weights"] = "sha256:0"
    file.write_text(json.dumps(output))
    with pytest.raises(ValueError, match="was trained on dec2vec/tiny .sha256:0., this model is"):
        vectors("sgpt", str(folder))


def test_a_trained_pooling_ends_an_adapter_stack_and_pools_its_own_layers(train):
    kind = "recipe.trainable.pooler.kind=multi_layer"
    below = str(train("method=sgpt", kind, *POOLER).run())
    with pytest.raises(ValueError, match="has a multi_layer pooler.*train on its parent adapters"):
        train("method=sgpt", f"adapter={below}", out="above").run()
    with pytest.raises(ValueError, match="has a parent adapter with a multi_layer pooling"):
        vectors("sgpt", [below, str(train("method=sgpt", out="plain").run())])
    with pytest.raises(ValueError, match="layer=1 has no effect on a trained multi_layer pooling"):
        vectors("sgpt", below, layer=1)
    with pytest.raises(ValueError, match="kind=full makes none"):
        train(kind, "recipe.trainable.kind=full")
    with pytest.raises(ValueError, match="pools nothing; no pooler"):
        train(kind, "recipe.objective=mntp")


def test_shards_are_refused_with_the_reason(train):
    with pytest.raises(ValueError, match="run.fsdp=full_shard is not supported: .*use.*deepspeed"):
        train("run.fsdp=full_shard")


@pytest.mark.parametrize(("layer", "trained"), [(1, {0}), (-2, {0, 1}), (3, {0, 1, 2})])
def test_a_layer_is_trained_as_it_is_read(train, layer, trained):
    job = train("method=sgpt", f"method.layer={layer}", "recipe.learning_rate=1e-2")
    state = weights(job.run())
    moved = {
        int(n.split("layers.")[1].split(".")[0])
        for n, t in state.items()
        if t.any() and "lora_B" in n
    }
    assert moved == trained


@pytest.mark.parametrize(
    "kind",
    [
        ["method=echo", "recipe.trainable.rows=[eos]", "method.template=instruct"],
        ["method=sgpt", "recipe.trainable.kind=added_bias"],
        ["method=cpt_text", "recipe.trainable.kind=full"],
        ["method=sgpt", "recipe.trainable.pooler.kind=latent_attention", *POOLER],
    ],
)
def test_half_precision_trains_what_float32_trains(train, prepared, kind):
    losses = []
    for dtype in ("float32", "bfloat16"):
        job = train(*kind, f"model.dtype={dtype}", "recipe.learning_rate=1e-2", out=dtype)
        losses.append(pd.read_csv(job.run() / "loss.csv")["loss"])
        model = prepared[-1].backbone.model
        names = [p.dtype for p in model.parameters() if p.requires_grad]
        assert set(names) == {torch.float32}
    assert losses[1].tolist() == pytest.approx(losses[0].tolist(), rel=0.15)


def test_too_few_rows_for_a_batch_are_an_error_and_no_adapter(train):
    job = train("recipe.batch_size=80")
    with pytest.raises(ValueError, match="data mine has 64 rows, too few for one batch of 80"):
        job.run()
    assert not (job.folder / "training.json").exists()


def test_methods_alike_but_for_their_class_do_not_share_a_folder():
    given = ["recipe=demo", "model=tiny", "method.delimiters=new", "method.max_length=300"]
    folders = {
        build_train_job(
            compose([*given, f"method={name}"], verb="train"), title="demo", overrides=[]
        ).folder
        for name in ("cpt_text", "udever")
    }
    assert len(folders) == 2


@pytest.mark.parametrize("pooler", [[], ["recipe.trainable.pooler.kind=multi_layer", *POOLER]])
def test_weights_gathered_from_shards_are_saved_as_ones_own(train, tmp_path, pooler):
    job = train("method=sgpt", *pooler)
    rows = data.load(job.data, texts_only=False, negatives=1, seed=0).rows
    trainer = job.build_trainer(job.prepare(), rows)
    gathered = {name: part + 1 for name, part in trainer.model.state_dict().items()}
    trainer._save(str(tmp_path / "own"))
    trainer._save(str(tmp_path / "gathered"), state_dict=gathered)
    for file in {p.name for p in (tmp_path / "own").glob("*.safetensors")}:
        own, other = (load_file(tmp_path / name / file) for name in ("own", "gathered"))
        assert own.keys() == other.keys()
        assert all(torch.allclose(own[name] + 1, other[name]) for name in own)


def test_bitfit_without_biases_offers_what_there_is(train):
    with pytest.raises(ValueError, match="no biases.*added_bias.*lora"):
        train("recipe.trainable.kind=bitfit").run()


def test_all_weights_trained_are_a_model(train, prepared):
    job = train("method=cpt_text", "recipe.trainable.kind=full", "recipe.learning_rate=1e-3")
    folder = job.run()
    whole = load_encoder("cpt_text", model=str(folder), dtype="float32", cache=None).encode(TEXTS)
    assert not np.allclose(whole, vectors("cpt_text"), atol=1e-2)
    backbone = prepared[0].backbone
    inner = backbone.model.eval()
    ids = job.method.prepare_inputs(TEXTS[:1], tokenizer=backbone.tokenizer).ids
    with torch.inference_mode():
        expected = inner(torch.tensor(ids)).last_hidden_state[0, -1]
    assert np.allclose(whole[0], expected.numpy(), atol=1e-4)


def test_a_learned_temperature_is_learnt(train):
    job = train("recipe.temperature_is=learned", "recipe.learning_rate=1e-1")
    rows = data.load(job.data, texts_only=False, negatives=1, seed=0).rows
    trainer = job.build_trainer(job.prepare(), rows)
    before = trainer.loss.log_scale.item()
    trainer.train()
    assert trainer.loss.log_scale.item() != before


def test_dropout_makes_a_text_its_own_positive(train, prepared, tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"text": f"{w} {w}s here"}) for w in "abcdefgh"))
    more = ["method=llm2vec", "recipe.twice=true", "recipe.attention_dropout=0.3"]
    job = train(*more, path=str(file))
    folder = job.run()
    assert (pd.read_csv(folder / "loss.csv")["grad_norm"] > 0).all()
    backbone = prepared[0].backbone
    module = MethodModule(backbone, job.method, backbone.model, packed=job.packed)
    rows = [{"query": text} for text in TEXTS]
    features = {
        k.removeprefix("query_"): v
        for k, v in Collator(job.method, backbone.tokenizer)(rows).items()
    }
    for training in (True, False):
        module.train(training)
        with torch.no_grad():
            one, other = (module(dict(features))["sentence_embedding"] for _ in range(2))
        assert torch.equal(one, other) is not training


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(train):
    job = train("recipe.steps=20", "recipe.learning_rate=1e30", "run.every=1", "recipe.warmup=0.5")
    with pytest.raises(NotFinite, match=r"the loss of step \d+ is nan.*checkpoint-\d+ is kept"):
        job.run()
    kept = sorted((job.folder / "checkpoints").glob("checkpoint-*"))
    assert kept and all(torch.isfinite(t).all() for t in weights(kept[0]).values())


def test_a_full_disk_names_the_folder_and_leaves_no_half_checkpoint(train, monkeypatch):
    from methods.training import trainer

    def full(*_):
        raise OSError(28, "No space left on device")

    job = train("run.every=2")
    monkeypatch.setattr(trainer, "save_trained", full)
    with pytest.raises(OSError, match="checkpoint-2 cannot be written to .*No space left"):
        job.run()
    assert not list((job.folder / "checkpoints").glob("checkpoint-*"))


def test_a_disk_that_is_full_at_the_end_leaves_no_finished_training(train, monkeypatch, caplog):
    from methods.training import curve
    from methods.training import job as module

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    undisturbed = train("run.every=2", out="undisturbed").run()
    job = train("run.every=2")
    monkeypatch.setattr(module.TrainJob, "_write_folder", full)
    monkeypatch.setattr(curve.Curve, "_draw", full)
    with pytest.raises(OSError, match="adapter cannot be written: .*resumes from the last checkp"):
        job.run()
    assert "no curve in" in caplog.text and not (job.folder / "training.json").exists()
    monkeypatch.undo()
    train("run.every=2").run()
    assert json.loads((job.folder / "training.json").read_text())["steps"] == 6
    one, other = weights(undisturbed), weights(job.folder)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (job.folder / "loss.png").is_file()


def test_validation_keeps_the_best_and_refuses_the_test_split(train, monkeypatch):
    from methods.training import job as module

    scores = iter([0.1, 0.9, 0.3])
    monkeypatch.setattr(module.validation, "Validation", lambda *_: lambda: next(scores))
    given = ["run.every=2", "run.validate.names=[DemoLee]"]
    folder = train(*given).run()
    output = json.loads((folder / "training.json").read_text())
    assert output["best"] == {"step": 4, "score": 0.9}
    monkeypatch.undo()
    with pytest.raises(ValueError, match="would be validated on its test split"):
        train(*given, out="other").run()


@pytest.mark.parametrize(("before", "rows"), [("true", [False, True]), ("false", [True])])
def test_what_is_scored_before_training_is_a_choice(train, monkeypatch, before, rows):
    from methods.training import config as module

    job, scored, alive = train("method=sgpt", "evaluate.names=[DemoLee]"), [], weakref.WeakSet()

    class Scored:
        def __init__(self, *, evaluation, **_):
            self.trained = bool(evaluation.spec.adapters)

        def run(self):
            """Load a model, which no job before this one may hold still."""
            scored.append(self.trained)
            assert not alive
            alive.add(self)

    monkeypatch.setattr(module, "Job", Scored)
    given = [*job.overrides, f"evaluate.before={before}"]
    module.score(job, job.run(), compose(given, verb="train"), name="sgpt")
    assert scored == rows


def arguments(pairs, out, *more):
    """Of a training as a command, on the tiny model."""
    return [
        *("train", "model=tiny", "model.dtype=float32", "recipe=demo", "data=file"),
        f"data.sources.mine.path={pairs}",
        "recipe.batch_size=8",
        f"runs={out.parent}",
        f"out={out}",
        *more,
    ]


def launched(pairs, out, *more):
    return Command(*arguments(pairs, out, *more), cwd=out.parent)


def test_a_killed_training_resumes_to_the_same_weights(pairs, tmp_path):
    more = ["recipe.steps=300", "run.every=20", "recipe.trainable.dropout=0.1"]
    whole = launched(pairs, tmp_path / "whole", *more)
    killed = launched(pairs, tmp_path / "killed", *more)
    checkpoints = tmp_path / "killed" / "checkpoints"
    while not list(checkpoints.glob("checkpoint-*/trainer_state.json")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "training.json").exists()
    again = launched(pairs, tmp_path / "killed", *more)
    for process in (whole, again):
        assert process.wait() == 0, process.communicate()
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    tokens, again = (
        json.loads((tmp_path / name / "training.json").read_text())["tokens"]
        for name in ("whole", "killed")
    )
    assert tokens <= again < tokens * 1.02  # a batch was at hand when it was killed


def test_two_processes_have_the_loss_of_one(pairs, tmp_path):
    # standalone: at a port of its own, so that tests in other processes can do the same
    torchrun = "torch.distributed.run --standalone --nproc-per-node 2 -m methods.cli".split()
    given = arguments(pairs, tmp_path / "two", "recipe.steps=4")
    alone = launched(pairs, tmp_path / "one", "recipe.steps=4")
    both = subprocess.run(
        [sys.executable, "-m", *torchrun, *given], cwd=ROOT, capture_output=True, text=True
    )
    assert both.returncode == 0, both.stdout + both.stderr
    assert alone.wait() == 0, alone.communicate()
    one, two = (pd.read_csv(tmp_path / name / "loss.csv") for name in ("one", "two"))
    assert np.allclose(one["loss"], two["loss"], rtol=1e-4)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)
