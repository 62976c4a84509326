"""The rows of the reliability table, and what all tests that break a run share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from launching import ONE_THREAD_ON_THE_CPU, Launch, torchrun, train

REPOSITORY = Path(__file__).parents[2]
REPORT = "MMDET_LITE_FAULTS_REPORT"  # the JSON file, if not work_dirs/faults.json


class Table:
    """Rows by the test that saw them; those of tests that did not run now stay as they were."""

    def __init__(self, path: Path):
        self.path = path
        self.ran: set[str] = set()
        self.rows: dict[str, dict[str, str]] = {}

    def write(self) -> None:
        earlier = json.loads(self.path.read_text()) if self.path.is_file() else {}
        kept = {test: row for test, row in earlier.items() if test not in self.ran}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = dict(sorted({**kept, **self.rows}.items()))
        self.path.write_text(json.dumps(rows, indent=2))
        self.path.with_suffix(".md").write_text(_markdown(rows))


def _markdown(rows: dict[str, dict[str, str]]) -> str:
    """The table of docs/reliability.md; a test by file and name, without its parameters."""
    lines = ["| fault | what happened | what was lost | test |", "| --- | --- | --- | --- |"]
    for test, row in rows.items():
        name = test.rpartition("/")[2].partition("[")[0]
        cells = [row[key].replace("|", "\\|") for key in ("fault", "happened", "lost")]
        lines.append(f"| {' | '.join(cells)} | `{name}` |")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def _table() -> Iterator[Table]:
    table = Table(Path(os.environ.get(REPORT) or REPOSITORY / "work_dirs/faults.json"))
    yield table
    table.write()


@pytest.fixture
def record_row(request: pytest.FixtureRequest, _table: Table) -> Callable[[str, str, str], None]:
    """Record what a test saw, as its last statement: ``record_row(fault, happened, lost)``.

    A test that fails, and so does not come to it, has no row.
    """
    test = request.node.nodeid
    _table.ran.add(test)

    def record(fault: str, happened: str, lost: str) -> None:
        assert test not in _table.rows, "a test has one row"
        _table.rows[test] = {"fault": fault, "happened": happened, "lost": lost}

    return record


@pytest.fixture(scope="module", autouse=True)
def _one_thread_on_the_cpu() -> Iterator[None]:
    """In this process too, as ``Launch`` has it in those that it starts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        for name, value in ONE_THREAD_ON_THE_CPU.items():
            patch.setenv(name, value)
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)  # which runs in this process have set


@pytest.fixture(scope="module", autouse=True)
def _without_ornament() -> Iterator[None]:
    """Without curves and indented configs, which take longer than the runs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmdet_lite.apis.train.plot_curves", lambda *given: None)
        patch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **style: (text, True))
        yield


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the fault config's run that nothing happened to."""
    from single_run import run_to_the_end

    work_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    run_to_the_end(work_dir)
    return work_dir


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run of ``processes_config.py`` by two processes."""
    folder = tmp_path_factory.mktemp("two_processes")
    with Launch(torchrun(2, train(folder / "run")), folder / "output.txt") as launch:
        launch.finish()
    return folder / "run"
