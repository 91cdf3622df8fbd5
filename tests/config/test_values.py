"""A key or a value that is not valid ends in an error before anything is loaded."""

import pytest

from methods.config.resolve import compose, resolve_evaluation
from methods.training.config import build_train_job

VALUES = [
    (["layer=last"], "layer 'last' is unknown; it takes a whole number"),
    (["layer=[all,1]"], "layer 'all' is unknown"),
    (["layer=1.5"], "method.layer 1.5 is not valid; it takes a whole number"),
    (["method.max_length=lots"], "method.max_length 'lots' is not valid"),
    (["normalize=maybe"], "normalize 'maybe' is unknown; valid: True, False"),
    (["normalize='true'"], "normalize 'true' is unknown; valid: True, False"),
    (["pooling=null"], "pooling=null names no value"),
    (["pooling=[]"], r"pooling=\[\] names no value"),
    (["post=[]"], r"post=\[\] names no value"),
    (["post=int4"], "post 'int4' is unknown; valid: dims:K, int8, binary"),
    (["post=[dims:8,int8+dims:4]"], "int8 makes codes, which no step takes"),
    (["post=int8", "fit_on=null"], "post=int8 needs texts to measure ranges on; give fit_on="),
    (["post=int8", "fit_on=nowhere"], "fit_on=nowhere is unknown; valid: wikipedia, or a file"),
    (["post=8"], "post 8 is not valid; it takes text"),
    (["cache.gib=-1"], "cache.gib is -1; it is above 0"),
    (["cache.gib=lots"], "cache.gib 'lots' is not valid; it takes a number"),
    (["+cache.gb=1"], "CacheSettings has no gb; it has: folder, gib; did you mean gib"),
    (["+kernel.packd=true"], "KernelSettings has no packd; .*did you mean packed"),
    (["kernel.packed=1"], "kernel.packed 1 is unknown; valid: True, False, auto"),
    (["kernel=eager"], "kernel=eager is one value for a whole section; its keys are kernel.att"),
    (["runs=null"], "runs null is not valid; it takes text"),
    (["adapter=5"], "adapter 5 is not valid; it takes text, a list of texts, null"),
    (["model.adapters=[x]"], "give adapter=DIR"),
    (["model.batch_tokens=0"], "batch_tokens is 0"),
    (["model.device=cudaa"], "device 'cudaa' is unknown; valid"),
    (["+model.dtpe=float32"], "BackboneSpec has no dtpe; .*did you mean dtype"),
    (["+model.source.sed=1"], "Random has no sed; .*did you mean seed"),
    (["tasks.names=STS12"], r"write tasks.names=\[STS12\]"),
    (["tasks.splits={STS12:test}"], "tasks.splits {STS12:test} is not valid; it takes a mapping"),
    (["+tasks.split=test"], "TaskList has no split; .*did you mean splits"),
    (["tasks.benchmark=NanoBEIR"], r"both given; to evaluate the benchmark add tasks.names=\[\]"),
    (["+instructions.task=x"], "Instructions has no task; .*did you mean tasks"),
    (["model=hub", "model.source.id=gpt2"], "records need ORG/NAME: .*model.name=ORG/gpt2"),
    (["adapter=/nowhere"], "/nowhere is no adapter: there is no such folder"),
    (["model=folder"], "model.source.path has no value yet; give model.source.path=PATH"),
    (["+method.unnormalized=[STSS]"], "method.unnormalized names STSS, .*did you mean STS"),
    (["+method.queries_only=[Retrieva]"], "queries_only names Retrieva, .*mean Retrieval"),
    (["~runs"], "runs was taken out; leave ~runs out, or give runs=VALUE"),
    (["~cache"], "cache was taken out"),
    (["~layer"], "layer was taken out"),
    (["~cache.folder"], "cache.folder was taken out; leave ~cache.folder out"),
    (["cache.gib=inf"], "cache.gib is inf; it is above 0 and finite"),
    (["cache.folder=''"], "cache.folder is empty"),
    (["mirror=''"], "mirror is empty"),
    (["tasks.splits={STS12:[]}"], "tasks.splits names none of STS12"),
    (["+model.source.config.layers=2"], r"source\.config\.layers is no setting of a llama model"),
    (["+model.source.config.hidden_sise=2"], "no setting of a llama .*did you mean hidden_size"),
    (["model.source.architecture=lama"], "architecture 'lama' is unknown .*did you mean llama"),
    (["model.source=5"], "model.source is not given; choose a model"),
    (["estimate=maybe"], "estimate 'maybe' is unknown; valid: True, False"),
    (["price_per_hour=2.5"], "is for an estimate; add estimate=true, or leave price_per_hour out"),
    (["price_per_hour=-1", "estimate=true"], "price_per_hour is -1; it is above 0 and finite"),
    (["price_per_hour=dear", "estimate=true"], "price_per_hour 'dear' is not valid; it takes a n"),
    (["+nonsense=1"], "nonsense is no key of dec2vec evaluate; valid: tasks, method"),
]


@pytest.mark.parametrize(("overrides", "message"), VALUES)
def test_a_key_or_value_that_is_not_valid_ends_before_a_model_is_loaded(overrides, message):
    force = [f"++{o}" if o.startswith("model.adapters") else o for o in overrides]
    with pytest.raises(ValueError, match=message):
        resolve_evaluation(compose(["method=sgpt", "model=tiny", *force]), name="sgpt")


TRAINED = [
    (["+recipe.stpes=3"], "Recipe has no stpes; .*did you mean steps"),
    (["recipe.learning_rate=inf"], "recipe.learning_rate is inf; it is above 0 and finite"),
    (["+run.validate.splt=x"], "TaskList has no splt; .*did you mean split"),
    (["~data.sources"], "data.sources was taken out"),
    (["recipe.steps=2.5"], "recipe.steps 2.5 is not valid"),
    (["recipe.steps=0"], "recipe.steps is 0; it is 1 or more"),
    (["recipe.trainable.kind=lorra"], "recipe.trainable.kind 'lorra' is unknown; .*mean lora"),
    (["recipe.trainable.dropout=2"], "it is 0 or more and below 1"),
    (["recipe.trainable.pooler.kind=x"], "recipe.trainable.pooler.kind 'x' is unknown"),
    (["recipe.masking.length=long"], "recipe.masking.length 'long' is not valid"),
    (["run.every=0"], "run.every is 0; it is 1 or more"),
    (["kernel.packed=yes_please"], "kernel.packed 'yes_please' is unknown; valid: True, False"),
    (["+run.sede=1"], "RunOptions has no sede; .*did you mean seed"),
    (["data.bad_rows=keep"], "data.bad_rows 'keep' is unknown; valid: error, drop"),
    (["+data.sources.substitutions.limt=1"], "DataSource has no limt; .*did you mean limit"),
    (["+data.folder=x"], "data.folder is used by no source"),
    (["data=file"], "data.sources.mine.path has no value yet; give data.sources.mine.path=PATH"),
    (["evaluate.names=STS12"], r"write evaluate.names=\[STS12\]"),
    (["evaluate.names=[STS99]"], "task 'STS99' is unknown; did you mean STS"),
    (["evaluate.names=[STS12]", "mirror=tests"], "STS12: .* not in the mirror.*evaluate.names="),
    (["evaluate.before=maybe"], "evaluate.before 'maybe' is unknown"),
    (["+evaluate.split=x"], "TaskList has no split"),
    (["run.validate.names=STS12"], r"write run.validate.names=\[STS12\]"),
    (["out=5"], "out 5 is not valid; it takes text, null. Quote it"),
    (["+model.four_bit=true"], "use recipe.trainable.quantized=auto"),
    (["+kernel.pakced=false"], "has no pakced"),
    (["price_per_hour=2.5"], "price_per_hour=2.5 is for an estimate; add estimate=true"),
]


@pytest.mark.parametrize(("overrides", "message"), TRAINED)
def test_a_training_is_checked_as_an_evaluation_is(overrides, message):
    config = compose(["recipe=demo", "model=tiny", *overrides], verb="train")
    with pytest.raises(ValueError, match=message):
        build_train_job(config, title="demo", overrides=[])
