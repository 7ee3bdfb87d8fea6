"""The soak: its accounts notice what is lost or counted twice; and a short one, in trouble for real."""

import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from interplay.cluster import soak

ray = pytest.importorskip("ray")


class Quiet:
    """A runner of rounds of two tasks."""

    def ask(self):
        return [object(), object()]

    def learn(self, number, handle):
        return {}, [{}, {}]

    def tell(self, tasks, outcomes):
        pass


def ledger(runner=None):
    return soak.Ledger(runner or Quiet())  # type: ignore[arg-type]


def test_accounts_of_an_orderly_run():
    book = ledger()
    first, second = book.ask(), book.ask()
    for number, tasks in enumerate((first, second)):
        book.tell(tasks, book.learn(number, None)[1])
    assert (book.asked, book.told, book.learned, book.wrong, book.open) == (4, 4, 2, [], [])


@pytest.mark.parametrize("what", ["twice", "another", "fewer", "skipped", "unasked"])
def test_accounts_notice(what):
    book = ledger()
    first, second = book.ask(), book.ask()
    book.learn(1 if what == "skipped" else 0, None)
    if what == "twice":
        book.tell(first, [{}, {}])
    book.tell(second if what == "another" else first, [{}] if what == "fewer" else [{}, {}])
    if what == "unasked":
        book.tell(second, [{}, {}])
        book.tell([object()] * 2, [{}, {}])
    assert len(book.wrong) == 1


def test_memory():
    rows = [{"a": 100.0 + (k >= 30), "b": float(k)} for k in range(1, 41)]
    assert soak.growth(rows, "a") == pytest.approx(0.01)
    assert soak.growth(rows, "b") == pytest.approx(np.median(range(31, 41)) / np.median(range(11, 21)) - 1)
    mine, block = soak.resident(os.getpid()), np.ones(2**24)
    assert soak.resident(os.getpid()) - mine > 0.9 * block.nbytes
    assert soak.resident(2**22 + 1) == 0.0
    assert not soak._served_by(soak.Path(f"/proc/{os.getpid()}"), os.getppid())


@pytest.mark.timeout(240)
def test_a_short_one(tmp_path, capsys, monkeypatch):
    """Twelve seconds with two kills; then a run in which a task was told of twice is told so by the exit code."""
    out, words = tmp_path / "out", ["coin-ppo", "--run.tile", "32", "--run.turns", "16", "--run.tiles", "2", "--run.env-actors", "2"]
    try:
        with pytest.raises(SystemExit) as ended:
            soak.main([*words, "--minutes", "0.2", "--every", "5", "--out", str(out)])
    finally:
        ray.shutdown()
    found = json.loads((out / "soak.json").read_text())
    assert ended.value.code == 0 and "same weights: True" in capsys.readouterr().out
    assert found["kills"] >= 1 and found["rounds"] == found["rounds learned from"] > 0
    assert found["tasks asked"] == found["tasks told"] == 2 * found["rounds"] and found["out of order"] == 0
    memory = pq.read_table(out / "memory.parquet").to_pylist()
    assert all(row["coordinator"] > 0 and row["ray"] > 0 for row in memory)
    monkeypatch.setattr(soak, "soak", lambda *_: found | {"tasks told": found["tasks told"] + 2})
    with pytest.raises(SystemExit) as ended:
        soak.main(words)
    assert ended.value.code == 1


@pytest.fixture
def struck(monkeypatch):
    """Signals sent, as (process id, signal); nobody is hurt. An actor is its process id: 0 is known to be dead, 9 is dead unnoticed."""
    sent = []

    def kill(pid, number):
        if pid == 9:
            raise ProcessLookupError
        sent.append((pid, number))

    monkeypatch.setattr(soak, "process", lambda pid: pid)
    monkeypatch.setattr(soak.os, "kill", kill)
    monkeypatch.setattr(soak.Trouble, "memory", lambda self: {})
    return sent


@pytest.mark.parametrize(("hosts", "kills"), [([], []), ([0, 9], []), ([5, 7], [5, 7, 5]), ([0, 7, 9], [7, 7, 7])])
def test_actors_are_struck_in_turn_unless_they_are_gone(struck, hosts, kills):
    trouble = soak.Trouble(SimpleNamespace(hosts=hosts), ledger(), soak.Options())  # type: ignore[arg-type]
    assert [trouble.strike() for _ in range(3)] == [len(kills) > 0] * 3
    assert struck == [(pid, signal.SIGKILL) for pid in kills] and trouble.kills == len(kills)


def test_trouble_begins_with_the_first_round_and_strikes_when_due_however_late(struck, monkeypatch):
    book = ledger()
    trouble = soak.Trouble(SimpleNamespace(hosts=[5]), book, soak.Options(minutes=1.0, every=40.0))  # type: ignore[arg-type]
    times = iter([0.0, 0.0, 70.0, 70.1])  # began; a look; and then the machine was busy for more than a minute
    monkeypatch.setattr(
        soak, "time", SimpleNamespace(sleep=lambda _: book.asked or setattr(book, "learned", 1), monotonic=lambda: next(times))
    )
    trouble.run()
    assert struck == [(5, signal.SIGKILL), (os.getpid(), signal.SIGTERM)] and len(trouble.rows) == 1
