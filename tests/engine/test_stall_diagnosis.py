"""Run with: pytest tests/engine/test_stall_diagnosis.py"""

from __future__ import annotations

import pytest

from mmdet_lite.engine.stall_diagnosis import (
    diagnose,
    diagnose_unreachable,
    find_behind,
    find_silent,
)
from mmdet_lite.engine.status_board import PHASES, Status


def status(phase="backward", iteration=17, turn=2, seconds=60.0, host="a", pid=123, published=0.0):
    return Status(host, pid, published, phase, iteration, turn, seconds)


def test_the_rank_in_an_earlier_phase_is_blamed_and_the_other_one_waits():
    loading = status("loading a batch", turn=0, seconds=61.2, host="b", pid=456)
    lines = diagnose([status(), loading], silent=()).splitlines()
    assert lines[0].startswith(
        "  behind: rank 1 (host b, pid 456): 'loading a batch' of iteration 17 for 61 s, as of "
    )
    assert lines[1].startswith(
        "  waiting: rank 0 (host a, pid 123): 'backward' of iteration 17 for 60 s, as of "
    )
    assert lines[2] == (
        "Rank 1 stalled while loading a batch: look at its storage, its loader workers and its "
        "log. Resume with --resume; if nothing is wrong but slow, raise distributed.timeout."
    )


def test_an_earlier_iteration_counts_before_the_phase():
    assert find_behind([status(turn=0, iteration=18), status(turn=3)]) == {1}


def test_the_same_phase_entered_once_less_is_behind():
    early, late = status("validation", turn=4), status("validation", turn=5)
    assert find_behind([late, early, late]) == {1}


def test_ranks_at_the_same_place_are_not_blamed_but_the_network_or_a_device():
    message = diagnose([status(), status()], silent=())
    assert message.count("  waiting: ") == 2 and "behind" not in message
    assert "All ranks are at the same place: the network between them, or the device" in message


def test_the_main_process_is_blamed_where_all_wait_for_its_metrics():
    together = [status("metrics of the main process")] * 3
    assert "Rank 0 stalled while computing the metrics" in diagnose(together, silent=())


def test_a_silent_rank_is_blamed_before_one_that_is_behind():
    message = diagnose([status(turn=0), status(), None], silent={1, 2})
    assert "  silent: rank 1 (host a" in message
    assert "  silent: rank 2: it never said what it does" in message
    assert "  waiting: rank 0" in message
    assert "Each of ranks 1, 2 gives no sign of life" in message


def test_silent_is_who_publishes_nothing_new():
    earlier = [status(published=1.0), status(published=1.0), None, None]
    later = [status(published=1.0), status(published=2.0), None, status()]
    assert find_silent(earlier, later) == {0, 2}


def test_of_many_ranks_ten_are_listed_and_the_others_counted():
    statuses = [status(turn=1)] * 12 + [status()] * 500
    lines = diagnose(statuses, silent=()).splitlines()
    assert len(lines) == 10 + 1 + 10 + 1 + 1
    assert lines[10] == "  behind: 2 more" and lines[21] == "  waiting: 490 more"
    assert lines[22].startswith("Each of ranks 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more stalled in")


@pytest.mark.parametrize("phase", PHASES)
def test_there_is_advice_for_every_phase(phase):
    message = diagnose([status(phase, turn=1), status()], silent=())
    assert "Rank 0 stalled" in message and "look at its" in message or "work dir" in message


def test_an_unreachable_store_is_named_with_what_it_means():
    message = diagnose_unreachable(("node7", 29500), "Connection refused")
    assert (
        "Rank 0, which serves the rendezvous store at node7:29500, does not answer (Connection "
        "refused): its process hangs, was stopped or has ended, or its node or the network to it"
    ) in message
    assert "--resume" in message
