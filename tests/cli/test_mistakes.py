"""What a newcomer types, and what the command line answers: in a line or two, before any model."""

import re
import shlex
import shutil
import subprocess

import pytest

from methods.cli import _explain_unknown
from methods.cli.arguments import check_arguments, split_arguments
from methods.cli.mistakes import explain, quote
from methods.config.resolve import CONF, compose, list_choices, resolve_evaluation
from methods.training.config import build_train_job

WORDS = [
    ("evaluate method=ecko", "did you mean method=echo?"),
    ("evaluate method=", "method= has no value; valid: angle"),
    ("evaluate method= echo", "write method=echo, without a space"),
    ("evaluate method=echo model=tinny", "did you mean model=tiny?"),
    ("evaluate method=echo model=gpt2", "model=hub model.source.id=gpt2"),
    ("evaluate method=echo model=org/name", "write model=hub model.source.id=org/name"),
    ("evaluate method=echo model=/folder", "write model=folder model.source.path=/folder"),
    ("evaluate method=echo model=x.gguf", "write model=gguf model.source.path=x.gguf"),
    ("evaluate method=echo tasks=STS12", "write tasks.names=[STS12]"),
    ("evaluate method=echo tasks=STS12,STS13", "write tasks.names=[STS12,STS13]"),
    ("evaluate method=echo layr=1", "layr is no key of dec2vec evaluate; did you mean layer=1?"),
    ("evaluate method=echo +layr=1", "layr is no key of dec2vec evaluate; did you mean layer=1?"),
    ("evaluate method=echo ++layr=1", "did you mean layer=1?"),
    ("evaluate method=echo max_length=75", "did you mean method.max_length=75?"),
    ("evaluate recipe=demo", "write dec2vec train recipe=demo"),
    ("evaluate --method echo", "--method is no option; write method=echo"),
    ("evaluate --method=echo", "write method=echo"),
    ("evaluate echo", "write method=echo"),
    ("evaluate method echo", "write method=echo"),
    ("evaluate tiny", "write model=tiny"),
    ("evaluate method=echo pooling=[last,mean", "write 'pooling=[last,mean]'"),
    ("evaluate method=echo tasks.names=[STS12, STS13]", "write 'tasks.names=[STS12,STS13]'"),
    ("evaluate method=[echo,sgpt]", "write -m method=echo,sgpt"),
    ("evaluate -m method=echo,sgppt", "did you mean method=sgpt?"),
    ("evaluate method=echo template=nope", "there is no template of that name; valid: echo_in"),
    ("evaluate experiment=layer", "did you mean experiment=layers?"),
    ("evaluate experiment=fair_supervised", "dec2vec train experiment=fair_supervised"),
    ("evaluate method=sgpt +template=sgpt_plain", "write template=sgpt_plain"),
    ("evaluate method = echo", "method has no value; write method=echo, without blanks"),
    ("evaluate method =echo", "method has no value; write method=echo, without blanks"),
    ("evaluate method==echo", "method==echo has two =; write method=echo"),
    ("evaluate method=echo, sgpt", "write -m method=echo,sgpt"),
    ("evaluate method=echo, model=tiny", "method=echo, ends with a comma; write method=echo"),
    ("evaluate method=echo pooling=last, mean", "for a list write 'pooling=[last,mean]'"),
    ("evaluate method=echo tasks.names=[STS12 STS13]", "write 'tasks.names=[STS12,STS13]'"),
    ("evaluate method=echo tasks.names={STS12}", "in brackets: 'tasks.names=[STS12]'"),
    ("evaluate method=echo method=sgpt", "method is given 2 times; .*-m method=echo,sgpt"),
    ("evaluate method=echo layer=1 layer=2", "layer is given 2 times; give it once"),
    (
        "evaluate method=null",
        "method=null names none; write method=NAME, one of: angle",
    ),
    ("evaluate method=echo ~cache", "~cache takes away what is needed"),
    ("evaluate method=echo ~nonsense", "nonsense is no key of dec2vec evaluate"),
    ("evaluate method=echo mirror=/a b", "a blank is quoted: \"mirror='/a b'\""),
    ("evaluate method=echo -n 3", "-n is no option; valid: -m, -h"),
    ("evaluate --hepl", "--hepl is no option; did you mean --help?"),
    ("evaluate method=echo recipe.steps=3", "write dec2vec train recipe.steps=3"),
    ("evaluate method=echo out=x", "out is no key of dec2vec evaluate, but of dec2vec train"),
    ("train recipe=demo tasks=STS12", "write evaluate.names=[STS12]"),
    ("train recipe=demo template=echo_instruct", "write method.template=echo_instruct"),
    ("train recipe=sgpt_nli_dmo", "did you mean recipe=sgpt_nli_demo?"),
    ("train recipe=demo data=pairs.jsonl", "data=file data.sources.mine.path=pairs.jsonl"),
]


@pytest.mark.parametrize(("line", "message"), WORDS)
def test_a_word_that_names_nothing_is_answered_with_what_was_meant(line, message):
    verb, *words = line.split()
    with pytest.raises(ValueError) as error:
        check_arguments(verb, *split_arguments(words))
    assert re.search(message if ".*" in message else re.escape(message), str(error.value))
    assert len(str(error.value).splitlines()) <= 2


@pytest.mark.parametrize(
    "value", ["/tmp/it's", "/a=b", "MTEB(eng, v2)", "a,b", "/x\\'y", 'say "x"']
)
def test_a_value_that_hydra_cannot_parse_is_answered_with_one_that_it_can(value):
    import shlex

    (word,) = shlex.split(quote("mirror", value))
    check_arguments("evaluate", [], ["method=sgpt", word])
    assert compose(["method=sgpt", word]).mirror == value
    if "'" in value or "=" in value or "(" in value:
        with pytest.raises(ValueError, match="quote the value|bracket"):
            check_arguments("evaluate", [], [f"mirror={value}"])


COMPOSED = [
    (["method=echo", "kernel.packd=1"], "did you mean kernel.packed="),
    (["method=echo", "mirorr=x"], "did you mean mirror="),
    (["method=echo", "tasks.name=[STS12]"], "did you mean tasks.names="),
    (["method=echo", "model=tiny", "model.source.path=x"], "write model=folder model.source.path"),
    (["method=echo", "pooling=last,mean"], "are a list: pooling=[last,mean]"),
    (["method=echo,sgpt"], "for a job each write -m method=echo,sgpt"),
    (["method=glob(*)"], "is a sweep; write dec2vec evaluate -m 'method=glob(*)'"),
    (["method=echo", "+runs=x"], "write runs=VALUE, without +"),
    (["method=echo", "template=nope"], "there is no template of that name"),
    ([], "no method is given; write method=NAME, one of: angle"),
]


def test_a_name_inside_a_mapping_is_told_as_such():
    for given, message in [
        ("data.sources.mine.columns={qery:a}", "data.sources.mine.columns has no qery"),
        ("data.sources.mine.columns.qery=a", "no key of dec2vec train; dec2vec train --help"),
    ]:
        with pytest.raises(Exception) as error:  # noqa: B017
            compose(["recipe=demo", "data=file", given], verb="train")
        assert message in explain(error.value, "train")


@pytest.mark.parametrize(("overrides", "message"), COMPOSED)
def test_hydras_errors_are_rephrased(overrides, message):
    with pytest.raises(Exception) as error:  # noqa: B017
        compose(overrides)
    output = explain(error.value, "evaluate")
    assert message in output and len(output.splitlines()) == 1 and "in struct" not in output


def test_a_word_that_is_no_verb_is_answered_with_a_command(monkeypatch):
    monkeypatch.setattr("sys.argv", ["dec2vec", "method", "echo"])
    assert _explain_unknown("method").endswith("Did you mean: dec2vec evaluate method=echo")
    monkeypatch.setattr("sys.argv", ["dec2vec", "-m", "method=echo,sgpt"])
    assert _explain_unknown("-m").endswith("Did you mean: dec2vec evaluate -m method=echo,sgpt")
    monkeypatch.setattr("sys.argv", ["dec2vec", "evalute", "method=echo"])
    assert _explain_unknown("evalute").endswith("Did you mean: dec2vec evaluate method=echo")


@pytest.mark.parametrize("names", ["STS12 STS13", "sts12, sts13"])
def test_a_name_of_several_tasks_or_in_other_letters_finds_them(names):
    from methods.config.settings import TaskList
    from methods.evaluation.tasks import load_tasks

    with pytest.raises(ValueError, match=r"give several as a list: tasks.names=\[STS12,STS13\]"):
        load_tasks(TaskList(names=[names]))
    with pytest.raises(ValueError, match="'sts12' is unknown; did you mean STS12 or"):
        load_tasks(TaskList(names=["sts12"]))


@pytest.mark.parametrize("verb", ["evaluate method=sgpt", "train recipe=demo"])
def test_a_folder_for_runs_that_is_a_file_is_told(verb, tmp_path):
    from tests.cli.test_evaluate import dec2vec

    (tmp_path / "taken").touch()
    code, output = dec2vec(*verb.split(), "model=tiny", "runs=taken", cwd=tmp_path)
    assert code == 1 and "folder for runs cannot be written" in output and "runs=DIR" in output
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["--out", "taken", "."], "taken cannot be written; give another folder: --out DIR"),
        (["--published", "taken", "REFERENCE"], "scores taken cannot be read: No columns"),
    ],
)
def test_a_report_says_what_it_cannot_read_or_write(words, message, tmp_path, monkeypatch):
    from analysis.__main__ import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    reference = str(CONF.parent / "runs" / "reference" / "sts")
    words = [reference if word == "REFERENCE" else word for word in words]
    monkeypatch.setattr("sys.argv", ["dec2vec report", *words])
    with pytest.raises(SystemExit, match=message):
        main()


def test_every_recorded_command_still_composes():
    import json

    from methods.config.settings import check_config

    records = (CONF.parent / "runs" / "reference").rglob("*.json")
    commands = {json.loads(f.read_text()).get("command") for f in records if f.name[0] in "rt"}
    commands.discard(None)
    assert len(commands) > 50
    for command in sorted(commands, key=len, reverse=True)[::3]:  # the longest, and a third of all
        _, verb, *words = shlex.split(command)
        check_arguments(verb, *split_arguments(words))
        check_config(compose(words, verb=verb), verb=verb)


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_commands_that_the_demo_ends_with_compose():
    make = ["make", "--silent", "next"]
    done = subprocess.run(make, cwd=CONF.parent, capture_output=True, text=True, check=True)
    lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    commands = [shlex.split(line) for line in lines]
    assert [verb for _, verb, *_ in commands] == ["try", "evaluate", "train"]
    assert all(program == ".venv/bin/dec2vec" for program, *_ in commands)
    assert len(commands[0]) == 5  # three texts
    options, words = split_arguments(commands[1][2:])
    check_arguments("evaluate", options, words)
    assert options == ["-m"] and words[0].startswith("method=cpt_text,")
    config = compose(["method=echo", *words[1:]])
    names = ["DemoReverseDictionary", "DemoNewsgroups", "DemoReuters", "DemoLee"]
    assert resolve_evaluation(config, name="echo").cells and config.tasks.names == names
    options, words = split_arguments(commands[2][2:])
    check_arguments("train", options, words)
    config = compose([*words, "model=tiny"], verb="train")
    assert build_train_job(config, title="demo", overrides=words).data.sources
    assert config.evaluate.names == ["DemoReutersSmall", "DemoLeeSmall"]


def test_options_stand_where_hydra_takes_them():
    assert split_arguments(["method=sgpt", "-m", "layer=1,-1", "--cfg", "job"]) == (
        ["-m", "--cfg", "job"],
        ["method=sgpt", "layer=1,-1"],
    )
    assert "smollm2_135m" in list_choices("model")
