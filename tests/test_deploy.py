"""What ships interplay: files agree with each other and with the schemas and flags of what reads them; scripts do their work."""

import copy
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import pytest
import tyro

from interplay.cluster.cli import COMMANDS, main
from interplay.cluster.jobs import VERBS
from interplay.cluster.recipes import RECIPES, recipe
from interplay.cluster.training import parse

ray = pytest.importorskip("ray")
yaml, jsonschema = pytest.importorskip("yaml"), pytest.importorskip("jsonschema")

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
TEXTS = sorted(path for path in [*DEPLOY.rglob("*"), ROOT / "docs/cluster.md", ROOT / ".dockerignore"] if path.is_file())
YAMLS = [path for path in TEXTS if path.suffix in (".yaml", ".yml")]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
name_of = lambda path: str(path.relative_to(ROOT))


def load(place):
    return yaml.safe_load((DEPLOY / place).read_text())


def part(pattern, text, flags=0):
    """What the first group of a pattern is in a text."""
    found = re.search(pattern, text, flags)
    assert found is not None, pattern
    return found.group(1)


def clusters():
    return load("kuberay/raycluster.yaml")["spec"], load("kuberay/rayjob.yaml")["spec"]["rayClusterSpec"]


def groups(cluster):
    """Pod templates by group, the head's among them, with the group."""
    return {"head": cluster["headGroupSpec"], **{group["groupName"]: group for group in cluster["workerGroupSpecs"]}}


# ---- files that are read by others


@pytest.mark.parametrize("path", YAMLS, ids=name_of)
def test_yaml_is_whole(path):
    assert all(isinstance(part, dict) for part in yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("path", [p for p in TEXTS if p.suffix in (".sh", ".sbatch")], ids=name_of)
def test_shell_scripts_parse_and_run(path):
    subprocess.run(["bash", "-n", path], check=True)
    assert os.access(path, os.X_OK)


SCHEMA = json.loads((DEPLOY / "kuberay/schema.json").read_text())


@pytest.mark.parametrize("kind", ["raycluster", "rayjob"])
def test_manifests_fit_the_schema(kind):
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(load(f"kuberay/{kind}.yaml"), SCHEMA)


WRONG = {  # what Kubernetes or the operator would refuse
    "a number among start parameters": lambda c: c["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
    "labels among start parameters": lambda c: c["headGroupSpec"]["rayStartParams"].update(labels="role=head"),
    "a misspelt field": lambda c: c["workerGroupSpecs"][0].update(minReplica=1),
    "a misspelt field of a pod": lambda c: c["headGroupSpec"]["template"]["spec"].update(terminationGracePeriod=5),
    "no version beside a token": lambda c: c.pop("rayVersion"),
    "no containers": lambda c: c["headGroupSpec"]["template"]["spec"].update(containers=[]),
    "a pod that restarts": lambda c: c["headGroupSpec"]["template"]["spec"].update(restartPolicy="Always"),
    "an unknown mode": lambda c: c["authOptions"].update(mode="on"),
    "no limit": lambda c: c["workerGroupSpecs"][1].pop("maxReplicas"),
    "a size in words": lambda c: c["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]["resources"]["limits"].update(memory="much"),
}


@pytest.mark.parametrize("why", WRONG)
def test_the_schema_refuses(why):
    made = copy.deepcopy(load("kuberay/raycluster.yaml"))  # aliases in YAML are one object: break one place only
    made["spec"] = json.loads(json.dumps(made["spec"]))
    WRONG[why](made["spec"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made, SCHEMA)


def test_the_job_runs_on_the_same_cluster():
    alone, of_job = clusters()
    assert alone == of_job


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_launchers_fit_rays_schema(cloud):
    made = load(f"cluster-launcher/{cloud}.yaml")
    jsonschema.validate(made, json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text()))
    kinds = made["available_node_types"]
    assert made["head_node_type"] == "head" and kinds["head"]["resources"] == {"CPU": 0}
    assert kinds["learner"]["resources"]["GPU"] == 1
    workers = [kind for name, kind in kinds.items() if name != "head"]
    assert all(kind["min_workers"] <= kind["max_workers"] for kind in workers)
    assert made["max_workers"] == sum(kind["max_workers"] for kind in workers)
    assert {name: kind["labels"]["role"] for name, kind in kinds.items()} == {"head": "head", "learner": "learner", "env": "env"}
    assert "spot" in json.dumps(kinds["env"]["node_config"]) or kinds["env"]["node_config"]["scheduling"] == [{"preemptible": True}]
    assert made["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert all("RAY_AUTH_MODE=token" in made[f"{who}_start_ray_commands"][1] for who in ("head", "worker"))


# ---- the cluster on Kubernetes


def test_groups_of_the_cluster():
    cluster, found = clusters()[0], groups(clusters()[0])
    assert list(found) == ["head", "learners", "env"]
    assert found["head"]["rayStartParams"]["num-cpus"] == "0"
    assert [found[name]["labels"]["role"] for name in found] == ["head", "learner", "env"]
    assert cluster["enableInTreeAutoscaling"] is True
    for name in ("learners", "env"):
        assert found[name]["minReplicas"] == found[name]["replicas"] < found[name]["maxReplicas"]
    pods = {name: group["template"]["spec"] for name, group in found.items()}
    gpus = {name: pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for name, pod in pods.items()}
    assert gpus == {"head": None, "learners": "1", "env": None}
    assert [pod["containers"][0]["image"].rpartition("-")[2] for pod in pods.values()] == ["cpu", "cuda", "cpu"]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    assert required in pods["head"]["affinity"]["nodeAffinity"] and required in pods["learners"]["affinity"]["nodeAffinity"]
    away = {e["key"] for e in pods["head"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"][0]["matchExpressions"]}
    wanted = pods["env"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert {e["preference"]["matchExpressions"][0]["key"] for e in wanted} == away
    assert {t["key"] for t in pods["env"]["tolerations"]} - {"spot"} <= away


def test_health_needs_no_token_and_is_asked_where_it_answers():
    from ray._private import ray_constants
    from ray.dashboard import http_server_agent

    for group in groups(clusters()[0]).values():
        for probe in ("readinessProbe", "livenessProbe"):
            asked = group["template"]["spec"]["containers"][0][probe]["httpGet"]
            assert asked["path"] in http_server_agent.PUBLIC_EXACT_PATHS
            assert asked["port"] == ray_constants.DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
    assert f":{ray_constants.DEFAULT_DASHBOARD_AGENT_LISTEN_PORT}/api/healthz" in (DEPLOY / "compose.yaml").read_text()


def test_nobody_is_root_and_runs_outlive_pods():
    for cluster in clusters():
        for group in groups(cluster).values():
            pod = group["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
            assert pod["containers"][0]["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        head = cluster["headGroupSpec"]["template"]["spec"]
        claims = [v["persistentVolumeClaim"]["claimName"] for v in head["volumes"] if "persistentVolumeClaim" in v]
        assert claims == [load("kuberay/storage.yaml")["metadata"]["name"]]
        assert {"name": "runs", "mountPath": "/runs"} in head["containers"][0]["volumeMounts"]


@pytest.mark.parametrize("writes", [0.0, 1.5], ids=["nothing is written", "a checkpoint is written"])
def test_a_head_that_goes_waits_for_a_checkpoint(tmp_path, writes):
    head = clusters()[0]["headGroupSpec"]["template"]["spec"]
    *shell, line = head["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    partial = tmp_path / "a" / "checkpoints" / ".00000007.partial"
    (tmp_path / "b" / "checkpoints" / ".00000001.partial").mkdir(parents=True)
    os.utime(tmp_path / "b" / "checkpoints" / ".00000001.partial", (0, 0))  # of a run that died long ago
    if writes:
        partial.mkdir(parents=True)
    began = time.monotonic()
    waiting = subprocess.Popen([*shell, line.replace("/runs", str(tmp_path))])
    time.sleep(writes)
    if writes:
        assert waiting.poll() is None
        partial.rename(partial.with_name("00000007"))
    assert waiting.wait(timeout=20) == 0
    assert time.monotonic() - began >= writes
    assert head["terminationGracePeriodSeconds"] >= 300


# ---- versions, ports, names, secrets


def test_versions_are_those_of_the_project():
    for cluster in clusters():
        assert cluster["rayVersion"] == PINS["ray"]
    found = {tag for path in TEXTS for tag in re.findall(r"interplay:(\d[\w.]*)-", path.read_text())}
    assert found == {PROJECT["version"]}
    python = part(r"ARG PYTHON=(\S+)", (DEPLOY / "Dockerfile").read_text())
    assert PROJECT["requires-python"] == f">={python}"


PORTS = {"--port": "6379", "--dashboard-port": "8265", "--metrics-export-port": "8080"}


def test_ports_are_the_same_everywhere():
    for path in TEXTS:
        for flag, value in re.findall(r"(?<!\S)(--(?:dashboard-|metrics-export-)?port)[= ](\d+)", path.read_text()):
            assert value == PORTS[flag], f"{name_of(path)}: {flag}={value}"
    for cluster in clusters():
        for group in groups(cluster).values():
            assert group["rayStartParams"]["metrics-export-port"] == PORTS["--metrics-export-port"]
        head = cluster["headGroupSpec"]
        assert head["rayStartParams"]["dashboard-port"] == PORTS["--dashboard-port"]
        ports = {p["name"]: str(p["containerPort"]) for p in head["template"]["spec"]["containers"][0]["ports"]}
        assert ports == {"gcs-server": "6379", "dashboard": "8265", "metrics": "8080"}
    assert [e["port"] for e in load("kuberay/podmonitor.yaml")["spec"]["podMetricsEndpoints"]] == ["metrics"]
    assert load("prometheus/static.yml")["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:8080"]}]
    text = "\n".join(path.read_text() for path in TEXTS)
    assert set(re.findall(r"(?:HEAD|head|\$RAY_HEAD_IP):(\d{4,5})\b", text)) == {"6379", "8265"}


SECRETS = (
    r"AKIA[0-9A-Z]{16}",
    r"-----BEGIN",
    r"gh[pousr]_\w{20,}",
    r"(?i)(token|password|secret|key)\w*[\"']?\s*[:=]\s*[\"']?[0-9a-f]{16,}",
    r"(?i)password\s*[:=]",
)
HOSTS = {"127.0.0.1", "HEAD", "NODE", "head", "prometheus", "grafana", "download.pytorch.org", "json-schema.org"}


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_no_secrets_and_no_hosts(path):
    text = path.read_text()
    assert [rule for rule in SECRETS if re.search(rule, text)] == []
    assert set(re.findall(r"https?://([\w.-]+)", text)) <= HOSTS
    assert set(re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", text)) <= {"127.0.0.1", "0.0.0.0"}


def test_the_token_comes_from_one_secret():
    names = {cluster["authOptions"]["secretName"] for cluster in clusters()}
    assert all(cluster["authOptions"]["mode"] == "token" for cluster in clusters())
    text = (ROOT / "docs/cluster.md").read_text()
    assert names == set(re.findall(r"create secret generic (\S+) --from-file=auth_token=", text))
    made = load("compose.yaml")
    assert made["secrets"] == {"ray_token": {"file": "${HOME}/.ray/auth_token"}}
    for name in ("head", "env"):
        service = made["services"][name]
        assert service["secrets"] == ["ray_token"]
        assert {k: service["environment"][k] for k in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")} == {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": "/run/secrets/ray_token",
        }


# ---- command lines


def lines(path):
    """Lines of code and comments, continued ones joined, without what only formats them."""
    return re.sub(r"\\\n\s*(#\s*)?", "", path.read_text()).splitlines()


def commands(pattern):
    """Words after `pattern` up to the end of the command, wherever it stands in deploy/ and docs/."""
    for path in TEXTS:
        for line in lines(path):
            for found in re.finditer(pattern + r"\s+([^`;|&#)\"]+)", line):
                words = shlex.split(found.group(1).replace("'", "").replace("[", "").replace("]", ""))
                if words and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", words[0]):
                    yield name_of(path), words


TRAIN = [(*found, 1) for found in commands(r"(?:interplay|interplay\.cluster\.cli) train")]
TRAIN += [(*found, 2) for found in commands(r"(?:train-or-resume(?:\.sh)?|interplay\.sbatch)")]
SUBMIT = list(commands(r"interplay submit"))


@pytest.mark.parametrize(("where", "words", "positional"), TRAIN, ids=lambda x: x if isinstance(x, str) else None)
def test_every_training_command_is_one(where, words, positional):
    made = recipe(words[0])
    _, experiment = parse(words[0], made.experiment, words[positional:], made)
    experiment.check()


@pytest.mark.parametrize(("where", "words"), SUBMIT, ids=lambda x: x if isinstance(x, str) else None)
def test_every_submission_could_be_sent(where, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    main(["submit", *words, "--dry-run"])
    assert f"train {words[0]} " in capsys.readouterr().out


def test_commands_are_found_where_they_are_written():
    at = {where for where, _, _ in TRAIN}
    assert {"docs/cluster.md", "deploy/compose.yaml", "deploy/kuberay/rayjob.yaml", "deploy/slurm/interplay.sbatch"} <= at
    assert len(TRAIN) >= 9 and len(SUBMIT) >= 3
    assert all(words[0] in RECIPES for _, words in SUBMIT)
    text = (ROOT / "docs/cluster.md").read_text()
    used = {a or b for a, b in re.findall(r"^interplay (\S+)|`interplay (\w+)", text, re.M)}
    assert {"train", "submit", "jobs"} <= used <= set(COMMANDS)
    verbs = re.findall(r"^interplay jobs (\w+) (.*)$", text, re.M)
    assert {verb for verb, _ in verbs} == set(VERBS)
    for verb, flags in verbs:
        tyro.cli(VERBS[verb][0], args=shlex.split(flags))


def test_flags_of_ray_are_rays():
    scripts = importlib.import_module("ray.scripts.scripts")
    jobs = importlib.import_module("ray.dashboard.modules.job.cli")
    symmetric = importlib.import_module("ray.scripts.symmetric_run").symmetric_run
    flags = lambda command: {name for p in command.params for name in p.opts}
    known = {"start": flags(scripts.start), "job submit": flags(jobs.submit), "get-auth-token": flags(scripts.get_auth_token)}
    known["symmetric-run"] = flags(symmetric) | flags(scripts.start) - {"--head", "--node-ip-address", "--port", "--block"}
    seen = set()
    for path in TEXTS:
        text = " ".join(lines(path))
        for command, allowed in known.items():
            for found in re.findall(rf"\bray {command} ((?:(?!\bray (?:start|stop)\b)[^`;&)|])*)", text):
                mine = found.partition(" -- ")[0] if command != "start" else re.split(r"(?: \w+:| - )", found)[0]
                used = re.findall(r"(?<!\S)(--[a-z-]+)", mine)
                assert set(used) <= allowed, f"{name_of(path)}: ray {command}: {set(used) - allowed}"
                seen |= {command} if used else set()
    assert seen == set(known)


@pytest.mark.parametrize("path", [p for p in TEXTS if p.suffix != ".json"], ids=name_of)
def test_files_that_are_named_are_there(path):
    for name in re.findall(r"(?<![\w./-])((?:deploy|docs|tests)/[\w./-]*\w)", path.read_text()):
        assert (ROOT / name).exists(), f"{name_of(path)} names {name}"


# ---- scripts


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A PATH on which `interplay` writes down how it was called and finishes the run, and Slurm is this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "interplay": 'echo "$@" >> "$CALLS"; [ "$3" = --run-dir ] && mkdir -p "$4"; echo \'{"status": "finished"}\' > "$4/summary.json"',
        "scontrol": "echo node1; echo node2",
        "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; "$@"',
        "hostname": "echo 127.0.0.1 ::1",
        "ray": '[ "$1" = get-auth-token ] && { mkdir -p ~/.ray; echo made > ~/.ray/auth_token; exit; }; echo "ray $@" >> "$CALLS"; '
        'while [ "$1" != -- ]; do shift; done; shift; "$@"',
    }
    for name, body in programs.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path


def called(tools):
    return (tools / "calls").read_text().splitlines() if (tools / "calls").exists() else []


def test_train_or_resume(tools):
    run = tools / "run"
    start = lambda: subprocess.run([DEPLOY / "train-or-resume.sh", "ipd-mfos", run, "--seed", "3"], check=True, stdout=subprocess.DEVNULL)
    start()
    start()  # finished: nothing to do
    assert called(tools) == [f"train ipd-mfos --run-dir {run} --seed 3"]
    (run / "summary.json").write_text('{"status": "interrupted"}')
    (run / "checkpoints" / "00000100").mkdir(parents=True)
    start()
    assert called(tools)[1:] == [f"train ipd-mfos --resume {run} --seed 3"]
    (run / "summary.json").unlink()
    (run / "checkpoints" / "00000100").rename(run / "checkpoints" / ".00000100.partial")  # never whole: nothing to go on with
    start()
    assert called(tools)[2:] == [f"train ipd-mfos --run-dir {run} --seed 3"]
    assert [p.name for p in tools.glob("run.*.unstarted/checkpoints/.*")] == [".00000100.partial"]
    assert subprocess.run([DEPLOY / "train-or-resume.sh", "ipd-mfos"], stderr=subprocess.DEVNULL).returncode == 2


def test_the_finished_status_is_what_a_summary_says(tmp_path):
    from interplay.cluster.record import write

    write(tmp_path / "summary.json", {"recipe": "ipd-mfos", "status": "finished"})
    assert '"status": "finished"' in (tmp_path / "summary.json").read_text()
    assert all('"status": "finished"' in (DEPLOY / name).read_text() for name in ("train-or-resume.sh", "slurm/interplay.sbatch"))


def test_the_slurm_script_trains(tools, monkeypatch):
    (tools / "deploy").symlink_to(DEPLOY)
    monkeypatch.setenv("HOME", str(tools))
    for name, value in {"SUBMIT_DIR": tools, "JOB_NODELIST": "node[1-2]", "JOB_NUM_NODES": 2, "CPUS_PER_TASK": 8}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    script = [DEPLOY / "slurm/interplay.sbatch", "ipd-mfos", "runs/first", "--run.env-actors", "2"]
    assert subprocess.run(script).returncode == 0
    started, trained = called(tools)
    address = "127.0.0.1:6379"
    assert started.startswith(f"ray symmetric-run --address {address} --min-nodes 2 --num-cpus 8 --num-gpus 0 ")
    assert trained == f"train ipd-mfos --run-dir runs/first --run.env-actors 2 --address {address}"
    assert (tools / ".ray" / "auth_token").stat().st_mode & 0o077 == 0
    (tools / "bin" / "ray").write_text("#!/usr/bin/env bash\nexit 0\n")  # Ray did not come up, and says nothing
    (tools / "runs" / "first" / "summary.json").unlink()
    assert subprocess.run(script, stderr=subprocess.DEVNULL).returncode != 0


# ---- the image and what watches


def test_the_image_is_made_of_what_is_there():
    text = (DEPLOY / "Dockerfile").read_text()
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()
    sources = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M) for word in line.split()[:-1]]
    assert set(sources) == allowed
    assert all((ROOT / source).exists() for source in sources)
    rooms = {
        path.split("/")[0] for path in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    }
    assert rooms < set(sources)
    assert re.findall(r"^USER (\S+)", text, re.M) == ["ray"]
    assert re.findall(r"^FROM (\S+)", text, re.M) == ["python:${PYTHON}-slim-bookworm"] * 2


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_all_that_the_image_installs_is_pinned(tmp_path, variant):
    text = (DEPLOY / "Dockerfile").read_text()
    lister = part(r"<<'LIST'\n(.*?)^LIST$", text, re.S | re.M)
    out = subprocess.run([sys.executable, "-c", lister, variant], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = [part(r"^([\w-]+)", line) for line in out.split()]
    assert ("numba-cuda" in names) == (variant == "cuda") and {"ray", "torch", "numba"} < set(names)
    rule = part(r"grep -vE '([^']+)'", text) if variant == "cuda" else "^$"
    left = [name for name in PINS if not re.match(rule, name)]
    assert set(names) <= set(left)
    # PyTorch's CUDA wheel pins the toolkit itself, to another release than the tests compile with.
    assert any(name.startswith(("cuda-toolkit", "nvidia-")) for name in left) == (variant == "cpu")


def test_what_compose_mounts_is_there_and_is_read():
    from ray._private import ray_constants

    made = load("compose.yaml")
    mounts = {name: dict(v.removesuffix(":ro").split(":") for v in s.get("volumes", [])) for name, s in made["services"].items()}
    for service in mounts.values():
        for source in service:
            assert source in made["volumes"] if source[0] != "." else (DEPLOY / source).exists()
    listed = load("prometheus/prometheus.yml")["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert listed == [f"/tmp/ray/{ray_constants.PROMETHEUS_SERVICE_DISCOVERY_FILE}"]
    assert mounts["head"]["ray"] == mounts["prometheus"]["ray"] == mounts["grafana"]["ray"] == "/tmp/ray"
    paths = [provider["options"]["path"] for provider in load("grafana/dashboards.yaml")["providers"]]
    assert paths[0] == mounts["grafana"]["./grafana"] and paths[1].startswith("/tmp/ray/")
    source = load("grafana/datasource.yaml")["datasources"][0]
    assert source["url"] == "$PROMETHEUS_URL" and "PROMETHEUS_URL" in made["services"]["grafana"]["environment"]
    assert made["services"]["head"]["environment"]["RAY_PROMETHEUS_NAME"] == source["name"]
    published = [port for service in made["services"].values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)
