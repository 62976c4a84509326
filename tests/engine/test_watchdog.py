"""Run with: pytest tests/engine/test_watchdog.py"""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
import torch.distributed as dist

from mmdet_lite.engine.status_board import Status, StatusBoard
from mmdet_lite.engine.watchdog import EXIT_STALLED, Watchdog

TIMEOUT = 0.9  # a heartbeat every 0.15 s, 0.4 s for two looks at the others


@pytest.fixture(scope="module")
def server():
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.fixture
def make_board(server):
    """Boards of several ranks that share a connection; a new one may wait for the name server."""
    for rank in range(3):
        server.delete_key(f"mmdet_lite/status/{rank}")

    def make(rank=0, world_size=2):
        board = StatusBoard(("127.0.0.1", server.port), rank, world_size)
        board._store = server
        return board

    return make


@contextmanager
def living_rank(board, phase, iteration, turn):
    """A rank that stays in one phase, but whose heartbeat goes on."""
    stop = threading.Event()

    def publish():
        while not stop.wait(0.05):
            board.publish(Status("elsewhere", 7, time.time(), phase, iteration, turn, 9.0))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def stall(own_board, others=()):
    """Let rank 0 stall in the backward pass of iteration 17 (turn 2) and wait for its end."""
    ended = threading.Event()
    codes = []

    def end(code):
        codes.append(code)
        ended.set()

    with ExitStack() as ranks:
        for board, place in others:
            ranks.enter_context(living_rank(board, *place))
        with Watchdog(TIMEOUT, own_board, end) as dog:
            for phase in ("loading a batch", "forward", "backward"):
                dog.phase(phase, 17)
            ended.wait(15)
    return codes


def test_a_rank_behind_in_phase_is_named_with_what_to_look_at(make_board, capsys):
    codes = stall(make_board(0), [(make_board(1), ("loading a batch", 17, 0))])
    assert codes == [EXIT_STALLED] == [76]
    message = capsys.readouterr().err
    assert re.match(
        r"rank 0 has waited \d+ s in 'backward' of iteration 17 \(distributed.timeout=0.9\); "
        r"ending the run.\n  behind: rank 1 \(host elsewhere, pid 7\): 'loading a batch' of "
        rf"iteration 17 for 9 s, as of .*\n  waiting: rank 0 \(host .*, pid {os.getpid()}\): "
        r"'backward' of iteration 17 for \d+ s, as of ",
        message,
    )
    assert "Rank 1 stalled while loading a batch: look at its storage" in message


def test_the_rank_itself_is_named_if_the_others_are_ahead(make_board, capsys):
    places = [("update", 17, 3), ("loading a batch", 18, 0)]
    stall(make_board(0, 3), zip([make_board(1, 3), make_board(2, 3)], places, strict=True))
    message = capsys.readouterr().err
    assert "behind: rank 0 " in message and "waiting: rank 1 " in message
    assert "Rank 0 stalled in the backward pass" in message


def test_it_reports_to_stderr_and_the_log_with_the_stack_of_the_main_thread(
    make_board, capsys, caplog
):
    stall(make_board(0), [(make_board(1), ("backward", 17, 2))])
    message = capsys.readouterr().err
    assert "All ranks are at the same place: the network between them" in message
    stack = message.partition("The main thread of rank 0 is at:\n")[2]
    assert re.search(r"test_watchdog.py:\d+ in stall\n.*threading.py:\d+ in wait\n", stack)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() + "\n" for record in errors] == [message]


def test_a_rank_whose_heartbeat_stopped_is_silent(make_board, capsys):
    make_board(1).publish(Status("gone", 7, time.time(), "update", 17, 3, 0.0))
    stall(make_board(0, 3))
    message = capsys.readouterr().err
    assert "silent: rank 1 (host gone, pid 7): 'update' of iteration 17" in message
    assert "silent: rank 2: it never said what it does" in message
    assert "Each of ranks 1, 2 gives no sign of life" in message


def test_a_store_that_is_gone_is_named(capsys, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        board = StatusBoard(free.getsockname(), 0, world_size=2)
    assert stall(board) == [EXIT_STALLED]
    message = capsys.readouterr().err
    assert "rank 0 has waited" in message
    assert f"store at 127.0.0.1:{board.address[1]}, does not answer (" in message
    assert "refused" in message and "or its node or the network to it is gone" in message
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1
    assert "cannot tell the others what it does" in caplog.text


def test_it_waits_while_the_phases_move(make_board):
    codes = []
    with Watchdog(0.6, make_board(), codes.append) as dog:
        for _ in range(8):
            dog.phase("validation", 3)  # the same phase again is progress too
            time.sleep(0.15)
    assert codes == []


def test_a_phase_that_ends_during_the_investigation_is_no_stall(make_board):
    codes = []
    board = make_board()
    asked, answer = threading.Event(), threading.Event()

    def read_twice(pause):
        asked.set()
        answer.wait(10)
        return [None, None], [None, None]

    board.read_twice = read_twice
    with Watchdog(0.6, board, codes.append) as dog:
        assert asked.wait(10)
        dog.phase("loading a batch", 0)
        answer.set()
        time.sleep(0.2)
    assert codes == []


def test_it_leaves_no_thread_behind(make_board):
    with Watchdog(60, make_board()) as dog:
        threads = dog._threads
        assert len(threads) == 2 and all(thread.is_alive() for thread in threads)
    assert not any(thread.is_alive() for thread in threads)


def test_a_process_of_its_own_has_no_threads_and_never_ends():
    codes = []
    before = threading.active_count()
    with Watchdog(0.05, end=codes.append) as dog:
        dog.phase("forward", 3)
        assert threading.active_count() == before
        time.sleep(0.2)
    assert codes == []


def test_an_unknown_phase_is_refused():
    with pytest.raises(ValueError, match="unknown phase 'nap', expected one of start, loading a"):
        Watchdog(60).phase("nap", 0)


def run_stalled_process(port, answer_seconds):
    program = (
        "import sys, time; from mmdet_lite.engine import watchdog as w\n"
        "w._ANSWER_SECONDS = float(sys.argv[2])\n"
        "with w.Watchdog(0.6, w.StatusBoard(('127.0.0.1', int(sys.argv[1])), 0, 2)) as dog:\n"
        "    dog.phase('saving', 5)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(port), str(answer_seconds)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


def test_a_stalled_process_exits_with_its_code(server, make_board):
    done = run_stalled_process(server.port, 20)
    assert done.returncode == EXIT_STALLED
    assert done.stderr.count("in 'saving' of iteration 5 (distributed.timeout=0.6)") == 1
    assert "rank 1: it never said what it does" in done.stderr


def test_a_store_that_never_answers_does_not_keep_it():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        done = run_stalled_process(mute.getsockname()[1], 0.5)
    assert done.returncode == EXIT_STALLED
    assert "does not answer (waited 0.5 s)" in done.stderr
