"""What is left of a training, and its time, by those that are finished."""

import json

import pytest

from methods.training.history import History


def test_a_training_is_to_do_then_unfinished_then_done(train, tmp_path):
    runs = tmp_path / "runs"
    given = ["method=sgpt", f"runs={runs}"]

    def make(*more, steps=6):
        return train(*given, *more, f"recipe.steps={steps}", out=f"runs/adapters/{steps}")

    assert History(runs).find_left(make()) == ("to do", None)
    make().run()
    assert History(runs).find_left(make()) == ("done", 0.0)
    scored = ["evaluate.names=[DemoLeeSmall]", "evaluate.before=false"]
    assert History(runs).find_left(make(*scored)) == ("unfinished", None)

    file = runs / "adapters" / "6" / "training.json"
    record = json.loads(file.read_text())
    record |= {"tokens": 4800, "seconds": 24.0}  # 100 a row, 200 a second
    file.write_text(json.dumps(record))
    state, seconds = History(runs).find_left(make(steps=20))
    assert state == "to do" and seconds == pytest.approx(20 * 8 * 100 / 200)
    state, seconds = History(runs).find_left(make("recipe.trainable.kind=added_bias", steps=20))
    assert state == "to do" and seconds is None  # another kind has another speed
    assert History(runs).find_left(make(*scored, steps=20)) == ("to do", None)

    folder = runs / "adapters" / "20" / "checkpoints" / "checkpoint-15"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text("{}")
    weights = file.parent / "adapter_model.safetensors"
    (folder / weights.name).write_bytes(weights.read_bytes())
    state, seconds = History(runs).find_left(make(steps=20))
    assert state == "unfinished" and seconds == pytest.approx(5 * 8 * 100 / 200)
