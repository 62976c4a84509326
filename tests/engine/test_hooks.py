"""Run with: pytest tests/engine/test_hooks.py"""

from __future__ import annotations

import pytest

from mmdet_lite.engine.hooks import EarlyStopping, Hook, hook_states, load_hook_states
from mmdet_lite.engine.run_data import RunData
from mmdet_lite.registry import HOOKS, build


class StubTrainer:
    reason = None
    data = RunData(make_loader=iter, iterations_per_epoch=1, batch_size=1)

    def stop(self, reason):
        self.reason = reason


class Counter(Hook):
    def __init__(self, count=0):
        self.count = count

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def validate(hook, *values):
    trainer = StubTrainer()
    for value in values:
        hook.after_validation(trainer, {"bbox_mAP": value})
    return trainer


def test_training_stops_when_the_metric_has_not_risen_for_so_long():
    hook = build({"type": "EarlyStopping", "metric": "bbox_mAP", "patience": 2}, HOOKS)
    assert validate(hook, 0.1, 0.3, 0.2, 0.31, 0.31).reason is None
    assert validate(hook, 0.30).reason == ("bbox_mAP has not risen above 0.3100 for 2 validations")


def test_a_rise_may_have_to_be_of_some_size():
    hook = EarlyStopping("bbox_mAP", patience=2, min_delta=0.05)
    assert validate(hook, 0.10, 0.14, 0.16, 0.18).reason is None  # 0.16 is more than 0.1 + 0.05
    assert "not risen above 0.1600" in validate(hook, 0.20).reason


def test_a_resumed_run_that_had_stopped_stops_again():
    hook, resumed = EarlyStopping("bbox_mAP", 1), EarlyStopping("bbox_mAP", 1)
    validate(hook, 0.3, 0.2)
    load_hook_states([resumed], hook_states([hook]))
    trainer = StubTrainer()
    resumed.before_train(trainer)
    assert "not risen above 0.3000" in trainer.reason


def test_wrong_settings_are_told():
    with pytest.raises(ValueError, match="patience is 0, expected 1 or more"):
        EarlyStopping("bbox_mAP", 0)
    with pytest.raises(ValueError, match="no metric 'segm_mAP'; the validation gave bbox_mAP"):
        validate(EarlyStopping("segm_mAP", 1), 0.5)


def test_two_hooks_of_a_class_keep_their_own_states():
    states = hook_states([Counter(1), Hook(), Counter(2)])
    hooks = [Hook(), Counter(), Counter()]
    load_hook_states(hooks, states)
    assert [hook.count for hook in hooks[1:]] == [1, 2]


def test_states_without_a_hook_and_hooks_without_a_state_are_told(caplog):
    load_hook_states([Counter()], {"EarlyStopping": {}})
    assert "no state of the hook Counter: it starts anew" in caplog.text
    assert "a state of the hook EarlyStopping, which this run lacks" in caplog.text
