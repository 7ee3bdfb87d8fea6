"""Jobs on a cluster: what is shipped, who gets the token, where run folders go; and once for real, with and without a token."""

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from interplay.cluster import checkpoint, cli, head, jobs, storage, submit, watch
from interplay.envs.core import UsageError

ray = pytest.importorskip("ray")

TOKEN = "c0ffee0123456789c0ffee0123456789"
INTERPLAY = [sys.executable, "-m", "interplay.cluster.cli"]
AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    """No token, no address and nobody's home."""
    for name in AUTH:
        monkeypatch.setenv(name, "")  # so that it is put back whatever the command does to it
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


class FakeHead:
    """Answers as Ray's job API does, and remembers what it was asked: (method, path, authorization, body)."""

    def __init__(self, token=None):
        self.asked = asked = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                sent = self.headers.get("Authorization")
                asked.append((self.command, self.path, sent, body))
                status, reply = 200, {}
                if token and sent != f"Bearer {token}":
                    status = 403 if sent else 401
                elif self.path == "/api/version":
                    reply = {"version": "4", "ray_version": ray.__version__, "ray_commit": "?", "session_name": "s"}
                elif self.command == "GET" and self.path.startswith("/api/packages/"):
                    status = 404
                elif self.command == "GET" and self.path == "/api/jobs/":
                    reply = []
                elif self.command == "GET":
                    status = 404
                elif self.command == "POST":
                    reply = {"job_id": "x", "submission_id": json.loads(body)["submission_id"]}
                text = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = answer

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.server.shutdown()
        self.server.server_close()


def failed(capsys, *words):
    """The one line that a mistaken command prints."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    printed = capsys.readouterr()
    assert ended.value.code == 2 and len(printed.err.strip().splitlines()) == 1 and printed.out == ""
    return printed.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["submit"], "submit needs a recipe"),
        (["submit", "ipd-ln"], "did you mean 'ipd-nl'"),
        (["submit", "lever-ppo", "--optim.lr", "-1"], "optim.lr is -1.0; allowed are finite numbers above 0"),
        (["submit", "lever-ppo", "--run.env-actors", "9"], "at most one actor a tile"),
        (["submit", "lever-ppo", "--run.device", "cuda:x"], "device 'cuda:x' is unknown"),
        (["submit", "lever-ppo", "--local"], "--local, --run-dir and --resume are not for jobs"),
        (["submit", "lever-ppo", "--run-dir", "x"], "--local, --run-dir and --resume are not for jobs"),
        (["submit", "lever-ppo", "--storage", "ftp://x/y"], "--storage is 'ftp://x/y'; allowed are a path"),
        (["submit", "lever-ppo", "--storage", "s3://"], "--storage is 's3://'"),
        (["submit", "lever-ppo", "--storage", "s3://key:hidden@bucket"], "--storage holds a password"),
        (["jobs"], "jobs needs a verb"),
        (["jobs", "lits"], "did you mean 'list'"),
        (["jobs", "logs", "nobody"], "job 'nobody' is unknown at http://127.0.0.1"),
        (["jobs", "fetch", "nobody", "there"], "job 'nobody' is unknown"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_mistakes_are_one_line_and_nothing_is_sent(words, says, capsys, monkeypatch):
    with FakeHead() as fake:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", fake.url)
        error = failed(capsys, *words)
        assert says in error and "hidden" not in error
        assert all(method == "GET" for method, *_ in fake.asked)
        assert words[0] == "jobs" or not fake.asked


def test_an_unknown_flag_is_said_as_train_says_it(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["submit", "lever-ppo", "--optim.lrr", "1"])
    assert ended.value.code == 2 and "--optim.lr FLOAT" in capsys.readouterr().err


def test_help_has_the_flags_of_both(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["submit", "lever-ppo", "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and "--storage" in text and "--optim.lr" in text


def test_a_device_of_the_clusters_need_not_be_here():
    submit.check("lever-ppo", ["--run.device", "cuda:7"])
    with pytest.raises(UsageError, match=r"ppo\.gamma is 2\.0"):
        submit.check("lever-ppo", ["--run.device", "cuda:7", "--ppo.gamma", "2"])


# --- addresses and tokens


@pytest.mark.parametrize(
    ("address", "url"),
    [("HEAD:8265", "http://HEAD:8265"), ("https://h.org/", "https://h.org"), (None, head.HERE), ("http://[::1]:1", "http://[::1]:1")],
)
def test_where(address, url):
    assert head.where(address) == url


@pytest.mark.parametrize("address", ["ray://h:10001", "http://", "h:99999", "h:port", "auto://x"])
def test_no_address(address):
    with pytest.raises(UsageError, match=r"--address is .*allowed is the http address of the head's dashboard"):
        head.where(address)


def test_an_address_with_a_password_is_not_repeated():
    with pytest.raises(UsageError, match="user name or password") as error:
        head.where("http://me:hidden@h:8265")
    assert "hidden" not in str(error.value)


def test_nothing_listens(capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert f"no Ray head answers at '{url}' (nothing listens there)" in failed(capsys, "jobs", "list", "--address", url)


def test_something_else_listens():
    with FakeHead() as fake, pytest.raises(UsageError, match=r"is no Ray head \(status 404\)"):
        head._ask(f"{fake.url}/elsewhere", {})


def put(monkeypatch, tmp_path, source, word):
    """A token in one of the three places."""
    path = tmp_path / "home" / ".ray" / "auth_token" if source == "home" else tmp_path / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if source == "RAY_AUTH_TOKEN":
        monkeypatch.setenv(source, f" {word}\n")
        return
    path.write_text(f"{word}\n")
    if source != "home":
        monkeypatch.setenv(source, str(path))


SOURCES = ("home", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN")  # each overrules those before it


@pytest.mark.parametrize("mode", ["", "token"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_head_that_wants_a_token_gets_it(source, mode, monkeypatch, tmp_path):
    for other in SOURCES[: SOURCES.index(source)]:
        put(monkeypatch, tmp_path, other, "stale")
    put(monkeypatch, tmp_path, source, TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with FakeHead(TOKEN) as fake:
        assert head.client(fake.url).list_jobs() == []
        assert [sent for _, _, sent, _ in fake.asked] == [None] + [f"Bearer {TOKEN}"] * (len(fake.asked) - 1)


def test_an_open_head_gets_no_token(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # another cluster's: does not overrule the address that is given
    with FakeHead() as fake:
        assert head.client(fake.url).list_jobs() == []
        assert len(fake.asked) > 1 and {sent for _, _, sent, _ in fake.asked} == {None}


@pytest.mark.parametrize(
    ("wanted", "mode", "word", "says"),
    [
        (TOKEN, "", None, "asks for a token, and none is set here; allowed are RAY_AUTH_TOKEN,"),
        (TOKEN, "", "5ecret", "refuses the token from RAY_AUTH_TOKEN;"),
        (TOKEN, "", "5ecret\nX: 1", "refuses the token from RAY_AUTH_TOKEN;"),
        (TOKEN, "", "5ecrét", "refuses the token from RAY_AUTH_TOKEN;"),
        (TOKEN, "disabled", TOKEN, "asks for a token, and RAY_AUTH_MODE is 'disabled' here"),
        (None, "token", None, "RAY_AUTH_MODE is token, and no token is set"),
    ],
)
def test_tokens_that_do_not_fit(wanted, mode, word, says, capsys, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    if word:
        monkeypatch.setenv("RAY_AUTH_TOKEN", word)
    with FakeHead(wanted) as fake:
        error = failed(capsys, "submit", "ipd-nl", "--address", fake.url)
        assert says in error and TOKEN not in error and "5ecr" not in error
        assert {method for method, *_ in fake.asked} == {"GET"}


def test_a_token_file_that_is_not_there(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere")
    with pytest.raises(UsageError, match="RAY_AUTH_TOKEN_PATH is '/nowhere', which is empty or cannot be read"):
        head.token()


# --- what is sent


def test_only_source_is_shipped(monkeypatch, tmp_path):
    kept = {f"{room}/{name}" for room in submit.ROOMS for name in ("rules.py", "levels.json")}
    for room in submit.ROOMS:
        left = [".rules.py", "w.safetensors", "r.nbc", "__pycache__/r.py", "runs/a/config.json", ".git/x.py", "notes.md"]
        for name in ["rules.py", "levels.json", *left]:
            file = tmp_path / "checkout" / room / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name * 10)
    link = tmp_path / ".path"  # rooms are found through symlinks, as a checkout has them
    link.symlink_to(tmp_path / "checkout")
    monkeypatch.setattr(submit, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[link / name.partition(".")[2]]))
    package, files, size = submit.stage(tmp_path / "staged")
    assert {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()} == kept
    assert (package.name, files, size) == ("interplay", 8, 4 * 10 * len("rules.pylevels.json"))
    assert not any(path.is_symlink() for path in package.rglob("*"))


def test_a_submission_as_the_head_receives_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with FakeHead(TOKEN) as fake:
        flags = ["--seed", "3", "--run.updates", "5"]
        cli.main(["submit", "ipd-nl", *flags, "--address", fake.url, "--storage", f"{tmp_path}/a b", "--no-wait"])
    printed = capsys.readouterr()
    (job,) = printed.out.split()
    ((_, uri, _, package),) = [request for request in fake.asked if request[0] == "PUT"]
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        names, size = archive.namelist(), sum(info.file_size for info in archive.infolist())
    rooms = Path(submit.__file__).parent.parent
    assert sorted(names) == sorted(f"interplay/{p.relative_to(rooms)}" for r in submit.ROOMS for p in (rooms / r).glob("*.py"))
    assert f"{len(names)} files, {size / 1024:,.0f} KiB" in printed.err
    ((_, _, _, body),) = [request for request in fake.asked if request[0] == "POST"]
    sent = json.loads(body)
    place, run = f"{tmp_path}/a b/{job}", f"/tmp/interplay/{job}"
    train = ["python", "-m", "interplay.cluster.cli", "train", "ipd-nl", *flags, "--address", "auto", "--run-dir", run]
    assert shlex.split(sent["entrypoint"]) == ["python", "-m", "interplay.cluster.keep", place, run, *train]
    assert sent["metadata"] == {"recipe": "ipd-nl", "run_dir": run, "storage": place}
    assert sent["runtime_env"]["py_modules"] == [f"gcs://{uri.rpartition('/')[2]}"]
    assert sent["runtime_env"]["env_vars"] == submit.STOP
    assert TOKEN not in printed.out + printed.err + body.decode() and TOKEN.encode() not in package


def test_dry_run_prints_the_same_job_for_rays_own_client(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with FakeHead(TOKEN) as fake:
        cli.main(["submit", "lever-ppo", "--optim.lr", "1e-3", "--dry-run", "--address", fake.url])
        assert not fake.asked
    words = shlex.split(capsys.readouterr().out)
    assert words[:6] == ["RAY_AUTH_MODE=token", f"RAY_API_SERVER_ADDRESS={fake.url}", "ray", "job", "submit", "--address"]
    said = dict(zip(words[5:13:2], words[6:13:2], strict=True))
    job, cut = said["--submission-id"], words.index("--")
    assert words[cut + 1 :] == shlex.split(
        f"python -m interplay.cluster.cli train lever-ppo --optim.lr 1e-3 --address auto --run-dir /tmp/interplay/{job}"
    )
    assert json.loads(said["--metadata-json"]) == {"recipe": "lever-ppo", "run_dir": f"/tmp/interplay/{job}"}
    (package,) = json.loads(said["--runtime-env-json"])["py_modules"]
    assert (Path(package) / "cluster" / "submit.py").read_text() == Path(submit.__file__).read_text()
    assert TOKEN not in " ".join(words)


# --- storage


def run_folder(path):
    """Files as a run has them; returns name -> bytes of those that count."""
    kept = {
        "config.json": b"{}",
        "tensorboard/events": b"x" * 3000,
        "log.gz": b"\x1f\x8bnot really",
        "checkpoints/00000002/learner.safetensors": bytes(range(256)) * 9000,
        "checkpoints/00000002/state.json": b"{2}",
        "summary.json": b"{}",
    }
    for name, data in {**kept, ".metrics.parquet.partial": b"half", "checkpoints/.00000004.partial/state.json": b"half"}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return kept


def files_of(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture(params=["path", "file", "mock"])
def uri(request, tmp_path, monkeypatch):
    """A place to store things: a path, a file:// URI, and an object store (pyarrow's own mock)."""
    if request.param == "mock":
        from pyarrow import fs

        system, _ = fs.FileSystem.from_uri("mock:///")
        monkeypatch.setattr(storage, "place", lambda uri: (system, "bucket/run"))
    return {"path": f"{tmp_path}/store/run", "file": f"file://{tmp_path}/store/run", "mock": "mock://bucket/run"}[request.param]


def test_up_and_down(uri, tmp_path):
    kept = run_folder(tmp_path / "run")
    assert storage.download(uri, tmp_path / "early") == 0
    assert storage.upload(tmp_path / "run", uri) == len(kept)
    assert storage.download(uri, tmp_path / "back") == len(kept)
    assert files_of(tmp_path / "back") == kept


def test_only_what_changed_is_sent_again(uri, tmp_path):
    kept, sent = run_folder(tmp_path / "run"), {}
    storage.upload(tmp_path / "run", uri, sent)
    assert set(sent) == set(kept) and storage.upload(tmp_path / "run", uri, sent) == 0
    (tmp_path / "run" / "config.json").write_bytes(b"{longer}")
    assert storage.upload(tmp_path / "run", uri, sent) == 1
    storage.download(uri, tmp_path / "back")
    assert files_of(tmp_path / "back") == {**kept, "config.json": b"{longer}"}


def test_what_says_that_all_is_there_is_sent_last(tmp_path, monkeypatch):
    run_folder(tmp_path / "run")
    order = []
    monkeypatch.setattr(storage, "_send", lambda path, system, target: order.append(path.name))
    storage.upload(tmp_path / "run", str(tmp_path / "store"))
    assert order[-2:] == ["state.json", "summary.json"] and len(order) == 6


def test_storage_that_cannot_be_used(tmp_path):
    run_folder(tmp_path / "run")
    (tmp_path / "file").write_text("in the way")
    for action in (lambda u: storage.upload(tmp_path / "run", u), storage.reach):
        with pytest.raises(UsageError, match="cannot be written") as error:
            action(f"{tmp_path}/file/run")
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="cannot be opened"):
        storage.place("none://x")


def test_places():
    assert storage.normal("runs") == f"{Path.cwd()}/runs"
    assert storage.below("s3://bucket/runs/?region=eu&endpoint_override=minio:9000", "j") == (
        "s3://bucket/runs/j?region=eu&endpoint_override=minio:9000"
    )
    assert storage.below("gs://bucket", "j") == "gs://bucket/j" and storage.below("/a b", "j") == "/a b/j"


RUN = """
import os, pathlib, signal, sys, time
folder, stored = map(pathlib.Path, sys.argv[1:])
(folder / "checkpoints" / "00000001").mkdir(parents=True)
(folder / "checkpoints" / "00000001" / "state.json").write_text("{1}")
while not (stored / "checkpoints" / "00000001" / "state.json").exists():
    time.sleep(0.05)
os.kill(os.getppid(), signal.SIGINT)  # as stopping a job does, which tells every process of it
(folder / "summary.json").write_text("{}")
raise SystemExit(3)
"""


def test_a_wrapped_run_is_kept_while_it_runs_and_when_it_ends(tmp_path):
    (tmp_path / "run.py").write_text(RUN)
    words = [str(tmp_path / "store"), str(tmp_path / "run"), sys.executable, str(tmp_path / "run.py")]
    command = [sys.executable, "-m", "interplay.cluster.keep", *words, str(tmp_path / "run"), str(tmp_path / "store")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stderr) == (3, "")
    assert files_of(tmp_path / "store") == {"checkpoints/00000001/state.json": b"{1}", "summary.json": b"{}"}


# --- watching


class Told:
    """A job as a client sees it: its log in pieces, the connection breaking after the second of them, once."""

    def __init__(self, fate="SUCCEEDED", code=None, interrupt=False):
        self.breaks, self.interrupt = 1, interrupt
        status = SimpleNamespace(value=fate, is_terminal=lambda: True)
        times = {"start_time": 1_000_000, "end_time": 4_724_000}
        self.details = SimpleNamespace(submission_id="j", status=status, driver_exit_code=code, message="no room", metadata={}, **times)

    def get_address(self):
        return "http://h:1"

    def get_job_info(self, job):
        return self.details

    async def tail_job_logs(self, job):
        yield "one\ntw"
        if self.interrupt:
            raise KeyboardInterrupt
        yield "o\n"
        if self.breaks:
            self.breaks -= 1
            raise RuntimeError("WebSocket closed")
        yield "three\n"


@pytest.mark.parametrize(
    ("fate", "code", "exits", "says"),
    [
        ("SUCCEEDED", 0, 0, "job j succeeded\n"),
        ("FAILED", 2, 2, "job j failed with exit code 2\n"),
        ("FAILED", -9, 137, "job j failed with exit code 137\n"),
        ("FAILED", None, 1, "job j failed: no room\n"),
        ("STOPPED", None, 130, "job j stopped\n"),
    ],
)
def test_a_log_is_printed_once_and_the_exit_code_is_the_jobs(fate, code, exits, says, capsys, monkeypatch):
    monkeypatch.setattr(watch, "AGAIN", 0.0)
    assert watch.watch(Told(fate, code), "j") == exits
    assert capsys.readouterr() == ("one\ntwo\nthree\n", says)


def test_ctrl_c_ends_the_watching_only(capsys):
    with pytest.raises(SystemExit) as ended:
        watch.watch(Told(interrupt=True), "j")
    assert ended.value.code == 130
    error = capsys.readouterr().err
    assert "job j goes on" in error and "interplay jobs stop j --address http://h:1" in error


def test_a_row_of_the_table(monkeypatch):
    details = Told().details
    assert jobs.row(details, now=0.0)[0::2] == ("j", "SUCCEEDED", "1:02:04")
    details.end_time, details.metadata = None, {"recipe": "ipd-nl"}
    assert jobs.row(details, now=1007.4)[1::3] == ("ipd-nl", "0:00:07")


# --- for real


def free_ports(count):
    """Ports that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def ray_head(**env):
    """A head of our own, on this machine's loopback alone; yields (its dashboard's URL, the folder of its logs)."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: it holds sockets
    names = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port", "ray-client-server-port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--temp-dir={folder}", "--object-store-memory=100000000"]
    command += [f"--{name}={port}" for name, port in ports.items()]
    # Off Linux Ray keeps to the loopback; asked for as here, it does so on Linux too.
    here = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    url, log = f"http://127.0.0.1:{ports['dashboard-port']}", folder / "head.log"
    with log.open("w") as out:
        started = subprocess.Popen(command, env=os.environ | here | env, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 100
        while True:
            assert started.poll() is None and time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(UsageError):
                head._ask(url, {})
                break
            time.sleep(0.5)
        yield url, folder
    finally:
        started.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(40)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def run(*words, **env):
    return subprocess.run([*INTERPLAY, *words], capture_output=True, text=True, timeout=200, env=os.environ | env)


@pytest.mark.timeout(240)
def test_submit_watch_and_fetch(tmp_path, capsys, monkeypatch):
    flags = ["ipd-nl", "--seed", "5", "--run.updates", "2"]
    cli.main(["train", *flags, "--local", "--quiet", "--run-dir", str(tmp_path / "local")])
    with ray_head(RAY_AUTH_MODE="disabled") as (url, _):
        ended = run("submit", *flags, "--address", url, "--storage", str(tmp_path / "store"))
        assert ended.returncode == 0, ended.stderr + ended.stdout
        job, *log = ended.stdout.splitlines()
        assert any(line.startswith("update 2/2") for line in log) and f"run folder copied to {tmp_path}/store/{job}" in log
        assert f"job {job} succeeded" in ended.stderr
        capsys.readouterr()
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", url)
        cli.main(["jobs", "list"])
        assert capsys.readouterr().out.split()[:3] == [job, "ipd-nl", "SUCCEEDED"]
        cli.main(["jobs", "logs", job])
        assert capsys.readouterr().out.splitlines() == log
        cli.main(["jobs", "fetch", job, str(tmp_path / "back")])
        assert capsys.readouterr().out == f"{tmp_path}/back\n"
        assert "did you mean" in failed(capsys, "jobs", "logs", job[:-1])
    shutil.rmtree(f"{submit.ON_HEAD}/{job}")
    assert json.loads((tmp_path / "back" / "summary.json").read_text())["status"] == "finished"
    there, here = (checkpoint.load(tmp_path / name / "checkpoints") for name in ("back", "local"))
    assert there.number == here.number and checkpoint.digest(there) == checkpoint.digest(here)


@pytest.mark.timeout(240)
def test_a_head_with_a_token_and_a_job_that_is_stopped(tmp_path, capfd, monkeypatch):
    (tmp_path / "token").write_text(TOKEN)
    secret = {"RAY_AUTH_TOKEN": TOKEN}
    with ray_head(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(tmp_path / "token")) as (url, folder):
        assert "asks for a token, and none is set here" in failed(capfd, "jobs", "list", "--address", url)
        flags = ["--run.updates", "100000", "--run.checkpoint-every", "5", "--address", url, "--storage", str(tmp_path / "store")]
        ended = run("submit", "ipd-nl", *flags, "--no-wait", **secret)
        assert ended.returncode == 0, ended.stderr
        job = ended.stdout.strip()
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        stored = tmp_path / "store" / job
        while not checkpoint.numbers(stored / "checkpoints")[1:]:
            time.sleep(0.5)
        assert head.client(url).get_job_info(job).status.value == "RUNNING"
        cli.main(["jobs", "stop", job, "--address", url])
        printed = capfd.readouterr()
        assert printed.out == f"job {job} stopped\n"
        assert json.loads((stored / "summary.json").read_text())["status"] == "interrupted"
        cli.main(["jobs", "logs", job, "--address", url])
        shown = ended.stdout + ended.stderr + printed.out + printed.err + capfd.readouterr().out
        assert "run folder copied to" in shown and TOKEN not in shown
        words = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not any(TOKEN.encode() in line for line in words)
        shutil.move(f"{submit.ON_HEAD}/{job}", tmp_path / "on-head")
        for place in (folder, tmp_path / "store", tmp_path / "on-head"):
            found = [name for name, data in files_of(place).items() if TOKEN.encode() in data]
            assert len(files_of(place)) > 5 and not found, found
