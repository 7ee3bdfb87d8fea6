"""Hosts on one machine: network namespaces with addresses of their own, whose links to one switch can be cut, healed and made slow.

Each host has its own network (one link, `eth0`) and its own `/tmp/ray`; processes, files and CPUs are shared. The switch is a bridge in a
namespace of its own, so nothing of this can be reached from elsewhere, and all of it goes when the namespaces go. Needs root.
"""

import contextlib
import ctypes
import fcntl
import os
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

PORT = 6379  # of the head's GCS
NAMESPACES = Path("/var/run/netns")
SETIFF, TAP = 0x400454CA, 0x1002  # ioctl of /dev/net/tun; a device of whole Ethernet frames, without a header before them
NEWNET = 0x40000000
SETTINGS = {"RAY_scheduler_spread_threshold": "0", "RAY_prestart_worker_first_driver": "0"}  # the emptiest host first; no idle workers
OWN_RAY = 'mount --bind "$0" /tmp/ray && exec "$@"'  # `ip netns exec` gives a command mounts of its own


class Hosts:
    """A context in which hosts stand. `delay` (s) and `loss` (a share) befall every frame that leaves a host."""

    def __init__(self, folder, delay=0.0, loss=0.0, seed=0):
        self.folder, self.delay, self.loss, self.seed = Path(folder), delay, loss, seed
        self.prefix, self.address, self.children = f"hosts{os.getpid()}-", {}, []

    def __enter__(self):
        sweep()
        Path("/tmp/ray").mkdir(exist_ok=True)
        try:
            self._namespace("switch")
            ip("-n", self.prefix + "switch", "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
            ip("-n", self.prefix + "switch", "link", "set", "dev", "bridge", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        left = [pid for name in names(self.prefix) for pid in remove(name)]
        for child in self.children:
            child.kill()  # relays; the others are gone
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):
                    if pipe:
                        pipe.close()
        assert not left, f"processes {left} outlive SIGKILL"

    def add(self, name, address):
        """A host with an IPv4 address in 10.77.0.0/24."""
        self._namespace(name)
        self.address[name] = address
        (self.folder / name).mkdir(parents=True)
        host, switch = self.prefix + name, self.prefix + "switch"
        slow = how_to_slow() if self.delay or self.loss else None
        if slow == "relay":
            command = [sys.executable, __file__, host, switch, name, str(self.delay), str(self.loss), str(self.seed + len(self.address))]
            self.children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            assert self.children[-1].stdout.readline() == "ready\n", "the relay did not start"
        else:
            ip("link", "add", "eth0", "netns", host, "type", "veth", "peer", "name", name, "netns", switch)
        ip("-n", host, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", host, "link", "set", "dev", "eth0", "up")
        ip("-n", host, "route", "add", "default", "dev", "eth0")  # Ray asks for a route to find its own address
        ip("-n", switch, "link", "set", "dev", name, "up")
        self.heal(name)
        if slow == "netem":
            quality = ["netem", "delay", f"{1000 * self.delay}ms", "loss", f"{100 * self.loss}%", "limit", "10000"]
            subprocess.run(["tc", "-n", host, "qdisc", "add", "dev", "eth0", "root", *quality], check=True)

    def _namespace(self, name):
        ip("netns", "add", self.prefix + name)
        ip("-n", self.prefix + name, "link", "set", "dev", "lo", "up")

    def cut(self, name):
        """What this host sends or is sent vanishes; neither side is told."""
        ip("-n", self.prefix + "switch", "link", "set", "dev", name, "nomaster")

    def heal(self, name):
        """Connect a host to the switch."""
        ip("-n", self.prefix + "switch", "link", "set", "dev", name, "master", "bridge")

    def popen(self, name, *command, **options):
        """Start a process on a host."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        clean |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", **SETTINGS}
        line = ["ip", "netns", "exec", self.prefix + name, "sh", "-c", OWN_RAY, str(self.folder / name), *command]
        self.children.append(subprocess.Popen(line, env=clean, start_new_session=True, **options))
        return self.children[-1]

    def ray(self, name, head, cpus, *more):
        """`ray start` on a host, as head (and wait until it listens) or to join one; its output goes to NAME.log."""
        role = ["--head", f"--port={PORT}", "--include-dashboard=false"] if name == head else [f"--address={self.address[head]}:{PORT}"]
        size = [f"--num-cpus={cpus}", "--object-store-memory=100000000", f"--node-ip-address={self.address[name]}"]
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--include-log-monitor=false", *role, *size, *more]
        with (self.folder / f"{name}.log").open("w") as log:
            process = self.popen(name, *command, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while name == head and not (process.pid in pids(self.prefix + name) and listens(process.pid, PORT)):
            assert process.poll() is None and time.monotonic() < until, (self.folder / f"{name}.log").read_text()
            time.sleep(0.1)

    def running(self, name, what):
        """Pids of a host's processes with this in the name of their program: "ray::" for actors and idle workers."""
        return [pid for pid in pids(self.prefix + name) if what in command_of(pid)]


def ip(*arguments):
    """Run `ip`; returns what it prints."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def names(prefix):
    """Namespaces whose names begin so."""
    return sorted(path.name for path in NAMESPACES.glob(f"{prefix}*")) if NAMESPACES.is_dir() else []


def pids(name):
    """Who runs in a namespace."""
    return [int(pid) for pid in ip("netns", "pids", name).split()]


def remove(name, patience=20.0):
    """Kill who runs in a namespace, wait until they are gone, and delete it; returns who is still there."""
    until = time.monotonic() + patience
    while (found := pids(name)) and time.monotonic() < until:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    ip("netns", "delete", name)
    return found


def sweep():
    """Remove what a test left whose process was itself killed."""
    for name in names("hosts"):
        owner = re.fullmatch(r"hosts(\d+)-.*", name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            remove(name)


def command_of(pid):
    """The program that a process runs."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


def listens(pid, port):
    """Does anybody listen at a TCP port in the namespace of a process?"""
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def how_to_slow():
    """What can delay and lose frames here: "netem" (a part of the kernel), "relay" (a process between two TAP devices), or None."""
    name = f"hosts{os.getpid()}-probe"
    command = ["tc", "-n", name, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    ip("netns", "add", name)
    try:
        if shutil.which("tc") and subprocess.run(command, capture_output=True).returncode == 0:
            return "netem"
    finally:
        ip("netns", "delete", name)
    return "relay" if os.access("/dev/net/tun", os.R_OK | os.W_OK) else None


def tap(namespace, device):
    """A new TAP device in a namespace, which this process moves to; returns its file."""
    with (NAMESPACES / namespace).open() as place:
        if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, SETIFF, struct.pack("16sH", device.encode(), TAP))
    return file


def relay(host, switch, name, delay, loss, seed):
    """Be the link between a host's eth0 and the switch: frames from the host wait `delay` seconds, and a share `loss` of them is lost.

    Ends when its standard input does.
    """
    inner, outer = tap(host, "eth0"), tap(switch, name)
    draw, waiting = random.Random(seed), deque()
    print("ready", flush=True)
    while True:
        patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select([inner, outer, sys.stdin], [], [], patience)
        if sys.stdin in ready:
            return
        now = time.monotonic()
        if inner in ready:
            frame = os.read(inner, 65536)
            if draw.random() >= loss:
                waiting.append((now + delay, frame))
        while waiting and waiting[0][0] <= now:
            send(outer, waiting.popleft()[1])
        if outer in ready:
            send(inner, os.read(outer, 65536))


def send(file, frame):
    with contextlib.suppress(OSError):  # the device is down, or full: the frame is lost
        os.write(file, frame)


if __name__ == "__main__":
    near, far, port, wait, share, key = sys.argv[1:]
    relay(near, far, port, float(wait), float(share), int(key))
