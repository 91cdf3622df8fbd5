"""Every config composes, every experiment's cells instantiate, and wrong names are errors."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from methods.config.encoders import compose_encoder
from methods.config.resolve import CONF, compose, list_choices, resolve_evaluation
from methods.training.config import build_train_job


@pytest.mark.parametrize("model", list_choices("model"))
def test_every_model_composes_into_a_spec(model):
    extra = {"hub": ["model.source.id=a/b"], "folder": ["model.source.path=x"]}
    extra["gguf"] = ["model.source.path=x.gguf"]
    config = compose(["method=sgpt", f"model={model}", *extra.get(model, [])])
    assert "/" in resolve_evaluation(config, name="sgpt").spec.name


@pytest.mark.parametrize("tasks", list_choices("tasks"))
@pytest.mark.parametrize("instructions", list_choices("instructions"))
def test_every_task_list_and_table_composes(tasks, instructions):
    config = compose(["method=sgpt", f"tasks={tasks}", f"instructions={instructions}"])
    assert config.tasks.names or config.tasks.benchmark
    assert resolve_evaluation(config, name="sgpt").instructions.source == instructions


def values_of(text, key):
    """What a sweep over one parameter runs through, by Hydra's own grammar."""
    override = OverridesParser.create().parse_override(f"{key}={text}")
    if isinstance(swept := override.value(), Glob):
        return swept.filter(list_choices(key))
    return list(override.sweep_string_iterator())


SINGLE = ("own_documents",)  # no sweep: one job, on documents that are given


@pytest.mark.parametrize("experiment", list_choices("experiment"))
def test_every_cell_of_every_experiment_instantiates(experiment):
    written = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml")
    swept = OmegaConf.select(written, "hydra.sweeper.params", default={})
    jobs = [["docs=x"] if experiment in SINGLE else []]
    for key, text in swept.items():
        jobs = [[*job, f"{key}={value}"] for job in jobs for value in values_of(text, key)]
    assert len(jobs) > 6 or experiment in SINGLE
    first = (CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()[1]
    verb = first.split()[2]
    assert first.startswith(f"# dec2vec {verb} experiment={experiment}")
    for job in jobs:
        if verb == "evaluate":
            assert resolve_evaluation(
                compose([f"experiment={experiment}", *job]), name=str(job)
            ).cells
        else:
            config = compose([f"experiment={experiment}", "model=tiny", *job], verb=verb)
            assert build_train_job(config, title=str(job), overrides=[]).data.sources


@pytest.mark.parametrize("experiment", ["attention_x_pooling", "layers", "templates"])
def test_an_experiment_on_the_demo_means_the_tasks_its_records_have(experiment):
    names = ["DemoReverseDictionary", "DemoNewsgroups", "DemoReuters", "DemoLee"]
    assert compose([f"experiment={experiment}", "method=sgpt"]).tasks.names == names
    small = compose([f"experiment={experiment}", "method=sgpt", "tasks=demo"])
    assert small.tasks.names == [f"{name}Small" for name in names]
    assert compose(["method=sgpt"]).tasks.names == small.tasks.names


def test_lists_become_cells_that_share_a_pass():
    config = compose(
        ["method=sgpt", "pooling=[last,mean]", "layer=[8,16,-1]", "normalize=[true,false]"]
    )
    cells = resolve_evaluation(config, name="sgpt").cells
    assert len(cells) == 12 and len(set(cells)) == 12


def test_splits_and_subsets_can_be_named_on_the_command_line():
    config = compose(["method=sgpt", "tasks=sts", "tasks.splits={STSBenchmark:[validation]}"])
    assert config.tasks.splits.STSBenchmark == ["validation"]


def test_attention_cannot_be_a_list_since_it_needs_a_pass():
    with pytest.raises(ValueError, match="sweep it: dec2vec evaluate -m attention="):
        resolve_evaluation(
            compose(["method=sgpt", "attention=[causal,bidirectional]"]), name="sgpt"
        )


def test_a_method_may_bring_its_own_model_and_the_command_line_may_change_it():
    assert compose(["method=sentence_encoder"]).model.name.endswith("MiniLM-L6-v2")
    assert compose(["method=sentence_encoder", "model=tiny"]).model.name == "dec2vec/tiny"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [(["method=eco"], "eco"), (["method=echo", "model=smol"], "smol"), ([], "method")],
)
def test_an_unknown_name_lists_what_there_is(overrides, message):
    with pytest.raises(ConfigCompositionException, match=message) as error:
        compose(overrides)
    assert "sgpt" in str(error.value) or "smollm2_135m" in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pooling=eos"], "pooling 'eos' is unknown; valid: last, mean, weighted_mean"),
        (["+method.poolin=mean"], "SGPT has no poolin; it has: attention, pooling, layer"),
        (["model.dtype=half"], "dtype 'half' is unknown; valid: auto, float32"),
        (["model.device=tpu"], "device 'tpu' is unknown; valid: auto, cpu, cuda, cuda:N"),
        (["adapter=/nowhere"], "/nowhere is no adapter"),
    ],
)
def test_a_wrong_value_is_told_before_anything_is_loaded(overrides, message):
    with pytest.raises(ValueError, match=message):
        resolve_evaluation(compose(["method=sgpt", *overrides]), name="sgpt")


def test_an_unknown_model_in_python_lists_what_there_is():
    with pytest.raises(ValueError, match="model 'smol' is unknown; valid: .*smollm2_135m.*Hub id"):
        compose_encoder("sgpt", model="smol", adapter=None, overrides={})
