# SPDX-License-Identifier: GPL-2.0-only
"""
What the system tests stand on: a place of their own to work in, filesystems to protect, a service to protect
them, and actors that open files.

Two rules hold everywhere. A permission mark is only ever set on a filesystem that the test has mounted itself.
And this process never opens a protected file: actors do (actor.py), each with a timeout, while the keeper
(keeper.py) stands by to end the service.
"""
import ast
import contextlib
import ctypes
import functools
import hashlib
import json
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import namedtuple
from pathlib import Path

import pytest
from keeper import TOKEN_VARIABLE, tagged

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
BUILD = Path(os.environ.get("HOLDFAST_BUILD", REPOSITORY / "build")).resolve()
SHARED = REPOSITORY.parent / "shared"

USER = "holdfast"  # who the service runs as
NOBODY = "nobody"  # who opens files without any privilege

FILESYSTEMS = ("ext4", "tmpfs")
ALL_FILESYSTEMS = ("ext4", "xfs", "btrfs", "tmpfs", "overlay")

# In pieces, so that no scanner takes this file or its bytecode for the real thing.
EICAR = b"".join([b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-ANTIVIRUS", b"-TEST-FILE!$H+H*"])
CLEAN = b"nothing to see here\n"

# A signature for tests that need content to be malware anywhere in a file, or from one moment on.
MARKER = b"holdfast-system-test-marker-5d1c"
MARKER_SIGNATURE = {"marker.ndb": f"Marker.Test:0:*:{MARKER.hex()}\n"}

# How long anything may take before it counts as hanging. Generous: machines that run tests are busy.
PATIENCE = 30

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
SANITIZER_REPORT = re.compile(r"ERROR: (Address|Leak|Undefined|Memory)\w*Sanitizer|: runtime error: ")

# What the log says of processes that end without having been asked to, and of events that got lost.
ACCIDENT = re.compile(
    r"was ended by|ended with status|keeps failing|is gone|does not answer|cannot enter|could not enter"
    r"|overflow|were dropped|was stopped|(?<!\d )not verified|are being lost|cannot lock memory"
)


def program(name):
    return BUILD / "src" / name


# What the service is to do without, as it would have to on an older kernel.
WITHOUT = frozenset(filter(None, os.environ.get("HOLDFAST_WITHOUT", "").split(",")))

ONE_MOUNT = "the mark is on a mount, and an open through another mount is not seen"
OWN_NAMESPACE = "the marks are on mounts, and those of another mount namespace are not seen"
NO_HANDLES = "an overlay has no handles to find a file by: one that is opened elsewhere counts as in scope"
ITSELF = "a kernel that raises the events all the same makes the guard wait for itself"
LAYERS = "only the overlay itself is marked: what goes on in its layers is not seen"
NOT_TAUGHT = "no directory is taught to the kernel"
NOT_CACHED = "no verdict on a file of an overlay is remembered"

# What cannot be had then, and why.
LOST = {
    "filesystem-marks": {
        "other mount namespaces": OWN_NAMESPACE,
        "overlays of protected trees": ONE_MOUNT,
        "memory on overlays": NOT_CACHED,
        "taught directories": NOT_TAUGHT,
    },
    "overlay-events": {
        "overlays in other mount namespaces": NO_HANDLES,
        "overlays of protected trees": LAYERS,
        "overlays on protected filesystems": ITSELF,
        "memory on overlays": NOT_CACHED,
    },
    "ignore-marks": {"taught directories": NOT_TAUGHT},
    "rename-watch": {"taught directories": NOT_TAUGHT},
    "evictable-marks": {},
    "unique-mount-ids": {},
}


# Whether overlays are watched by their layers, and not by themselves.
BY_LAYERS = not WITHOUT & {"filesystem-marks", "overlay-events"}


def need(what):
    """Skips what the service cannot do without what it has to do without."""
    for missing in sorted(WITHOUT):
        if what in LOST[missing]:
            pytest.skip(f"without {missing}: {LOST[missing][what]}")


def is_sanitized():
    """Whether the programs were built with AddressSanitizer: its libraries and handlers come on top."""
    with open(program("holdfastd"), "rb") as binary:
        return b"__asan_init" in binary.read()


def wait_until(condition, what, timeout=PATIENCE):
    """Waits for condition() to be true, and returns what it returned."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"after {timeout} s still not so: {what}"
        time.sleep(0.01)
    return result


# --- processes -------------------------------------------------------------------------------------------------


class KeeperProcess:
    """Our end of keeper.py."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-S", HERE / "keeper.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def tell(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def has_fired(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0] and self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=PATIENCE)


Process = namedtuple("Process", "pid role parent state")


def read_process(pid):
    """None when it has gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    name, rest = stat[stat.index("(") + 1 :].rsplit(")", 1)
    fields = rest.split()
    return Process(int(pid), role_of(pid, name), int(fields[1]), fields[0])


def role_of(pid, name):
    """By what it executes: only those that are forked, workers and standbys, have names of their own."""
    try:
        executable = Path(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")).name
    except OSError:
        return name
    return name if name in ("holdfast-worker", "holdfast-stdby") else executable


def read_status(pid):
    """/proc/PID/status as a dictionary."""
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


SYS_PIDFD_GETFD = 438  # on every architecture


def has_unread(pid, descriptor):
    """Whether a message waits in a socket of another process."""
    pidfd = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, pidfd, descriptor, 0)
        assert copy >= 0, os.strerror(ctypes.get_errno())
        try:
            return bool(select.select([copy], [], [], 0)[0])
        finally:
            os.close(copy)
    finally:
        os.close(pidfd)


TOOK_OVER = r"a standby took over as the guard within \d+ ms: opens waited, none was let go"


class Freezer:
    """
    A control group in which a process stands still, unless it is killed. Who is stopped by a signal does so too, but
    its parent is told, and the engine ends it.
    """

    def __init__(self, path, keeper, pid):
        self.path, self.keeper, self.pid = path, keeper, pid
        path.mkdir()
        keeper.tell("mount", path)
        run("mount", "-t", "cgroup2", "none", path)
        self.group = path / f"holdfast-test-{pid}"
        self.group.mkdir()
        (self.group / "cgroup.procs").write_text(str(pid))

    def freeze(self):
        (self.group / "cgroup.freeze").write_text("1")
        wait_until(lambda: self.is_so("frozen 1"), f"process {self.pid} stands still")

    def is_so(self, state):
        return state in (self.group / "cgroup.events").read_text()

    def thaw(self):
        (self.group / "cgroup.freeze").write_text("0")

    def close(self):
        wait_until(lambda: self.is_so("populated 0"), f"process {self.pid} has ended")
        self.group.rmdir()
        run("umount", self.path)
        self.keeper.tell("forget", self.path)


def send_signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


# --- actors ----------------------------------------------------------------------------------------------------

Opened = namedtuple("Opened", "path error content sha256")
Tried = namedtuple("Tried", "error content sha256")
Executed = namedtuple("Executed", "error status output")


def encode_path(path):
    """Paths of any bytes are told as lone surrogates."""
    return os.fsdecode(path)


def hash_of(reply):
    """Of what was read; large contents are not told."""
    return reply["sha256"] or hashlib.sha256(reply["content"]).hexdigest()


def skip_unknown(reply):
    """An optional step (see act_write()) that is not known here."""
    if reply.get("unknown"):
        pytest.skip(f"{reply['step']}: {reply['error']} here")


class Actor:
    """A process that does one thing to files; see actor.py."""

    def __init__(self, action, user="root", dumpable=True, **arguments):
        account = pwd.getpwnam(user)
        request = {
            "action": action,
            "user": None if account.pw_uid == 0 else [account.pw_uid, account.pw_gid, dumpable],
            "arguments": arguments,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", HERE / "actor.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        )
        self.process.stdin.write(ascii(request).encode() + b"\n")
        self.process.stdin.flush()
        self.replies = []

    @property
    def pid(self):
        return self.process.pid

    def go_on(self):
        """Lets a writer that waits carry out its next steps."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def wait_for_about(self):
        """Until it is about to do the next thing."""
        line = self.process.stdout.readline()
        assert line, f"the actor said nothing: {self.process.stderr.read().decode()}"
        reply = ast.literal_eval(line.decode())
        skip_unknown(reply)
        assert "about" in reply, line
        return self

    def wait_held(self):
        """Until it waits in an open. It sleeps nowhere else after it has said that it is about to."""
        self.wait_for_about()
        wait_until(
            lambda: (state := read_process(self.pid)) and state.state in "DSZ",
            "the opener waits or has ended",
        )
        assert self.is_held(), f"the open was not held: {self.finish()}"
        return self

    def is_held(self):
        process = read_process(self.pid)
        return process is not None and process.state in "DS" and self.process.poll() is None

    def finish(self, timeout=PATIENCE):
        """Its replies, once it has ended."""
        try:
            output, errors = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"process {self.pid} hangs, {timeout} s after it was asked to end") from None
        assert self.process.returncode == 0, errors.decode()
        replies = [ast.literal_eval(line) for line in output.decode().splitlines()]
        return [reply for reply in replies if "about" not in reply]

    def opened(self, timeout=PATIENCE):
        """What became of the one open."""
        (reply,) = self.finish(timeout)
        return Opened(os.fsencode(reply["path"]), reply["error"], reply["content"], hash_of(reply))

    def kill(self):
        self.process.kill()
        self.process.communicate()


def start_open(user, path, **options):
    """Starts an open that may be held."""
    return Actor("read", user, paths=[encode_path(path)], **options)


def open_as(user, path, timeout=PATIENCE, **options):
    """Opens and reads a file as a user. error is None or the name of the errno."""
    return start_open(user, path, **options).opened(timeout)


def open_all_as(user, paths, timeout=60):
    """Opens and reads many files, one after the other; returns {path: (error, sha256)}."""
    replies = Actor("read", user, paths=[encode_path(path) for path in paths]).finish(timeout)
    return {os.fsencode(reply["path"]): (reply["error"], hash_of(reply)) for reply in replies}


def execute_as(user, *argv, timeout=PATIENCE):
    (reply,) = Actor("execute", user, argv=[encode_path(word) for word in argv]).finish(timeout)
    return Executed(**reply)


def start_steps(user, *steps):
    """Starts a writer; see act_write() in actor.py."""

    def plain(argument):
        return encode_path(argument) if isinstance(argument, Path) else argument

    return Actor("write", user, steps=[[plain(argument) for argument in step] for step in steps])


def finish_steps(actor):
    """What became of the step that was tried, and what was read last; for how to say so see act_write()."""
    (reply,) = actor.finish()
    skip_unknown(reply)
    assert reply["error"] is None, f"a step that must succeed failed: {reply}"
    return Tried(reply["tried"], reply["content"], hash_of(reply))


def take_steps(user, *steps):
    return finish_steps(start_steps(user, *steps))


def writing(path, content, *flags):
    """The steps of writing a whole file."""
    return (
        ("open", "file", path, ["O_RDWR", *flags]),
        ("write", "file", content),
        ("close", "file"),
    )


def create(path, content):
    """Writes a new file under protection."""
    take_steps("root", *writing(path, content, "O_CREAT", "O_EXCL"))


# --- places ----------------------------------------------------------------------------------------------------


def run(*argv, **options):
    """A command that must succeed."""
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


# What makes a filesystem, quietly and whatever the image held before.
MKFS = {"ext4": ("-q", "-F"), "xfs": ("-q", "-f"), "btrfs": ("-q", "-f")}


def mount_points():
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
        return [line.split()[1] for line in mounts]


@functools.lru_cache(maxsize=None)
def missing_for(kind):
    """What this machine lacks for a kind of filesystem; None: nothing."""
    if kind in MKFS and not shutil.which("mkfs." + kind):
        return f"no mkfs.{kind}"
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "--quiet", kind], check=False, stderr=subprocess.DEVNULL)
    known = re.search(rf"\t{kind}$", Path("/proc/filesystems").read_text(), re.MULTILINE)
    return None if known else f"the kernel does not know {kind}"


class Volume:
    """
    A filesystem of the test's own, the only kind that gets a mark. An overlay has its layers on a filesystem of its
    own: what is written before it is protected is in the lower one, but for what is below "upper".
    """

    def __init__(self, kind, path, image, keeper, size=512 << 20, mkfs=()):
        self.kind, self.path, self.image, self.keeper = kind, path, image, keeper
        self.base = self.lower = self.upper = None
        # The directories whose files differ in where they are: in a subvolume, in the upper layer.
        self.trees = ["tree"]
        self.options = "redirect_dir=off"  # of an overlay; this is how distributions have it
        path.mkdir(exist_ok=True)
        if kind == "overlay":
            self.base = Volume("ext4", image.with_suffix(".layers"), image, keeper)
            self.lower, self.upper = self.base / "lower", self.base / "upper"
            for directory in (self.lower, self.upper, self.base / "work"):
                directory.mkdir()
            self.trees.append("upper")
        keeper.tell("mount", path)
        if kind in MKFS:
            with open(self.image, "wb") as file:
                file.truncate(size)
            run("mkfs." + kind, *MKFS[kind], *mkfs, self.image)
        self.mount()
        if kind == "btrfs":
            run("btrfs", "subvolume", "create", self / "subvolume")
            self.trees.append("subvolume")
        path.chmod(0o755)

    def mount(self):
        if self.kind == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", "size=512M,mode=755", "tmpfs", self.path)
        elif self.kind == "overlay":
            layers = f"lowerdir={self.lower},upperdir={self.upper},workdir={self.base / 'work'}"
            run("mount", "-t", "overlay", "-o", f"{layers},{self.options}", "overlay", self.path)
        else:
            run("mount", "-o", "loop", self.image, self.path)

    @property
    def movable_trees(self):
        """Those whose directories can be moved: ones from a lower layer can not."""
        return [tree for tree in self.trees if not self.lower or tree == "upper"]

    def __truediv__(self, name):
        """Names may be bytes of any kind."""
        return self.path / os.fsdecode(name)

    @contextlib.contextmanager
    def prepare(self, name):
        """Where to make something by this name. Only while no service protects the volume."""
        path = self / name
        if not self.lower or path.relative_to(self.path).parts[0] == "upper":
            yield path
            return
        # Behind the back of an overlay is no way to change its layers.
        run("umount", self.path)
        try:
            yield self.lower / path.relative_to(self.path)
        finally:
            self.mount()

    def write(self, name, content, mode=0o644):
        """Makes a file with all directories above it."""
        with self.prepare(name) as path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
        return self / name

    def mkdir(self, name):
        """Makes a directory with all above it."""
        with self.prepare(name) as path:
            path.mkdir(parents=True, exist_ok=True)
        return self / name

    def is_mounted(self):
        return str(self.path) in mount_points()

    def is_gone(self):
        loop = self.image.exists() and not self.base and run("losetup", "--associated", self.image)
        return not self.is_mounted() and not loop

    def close(self):
        if self.is_mounted():
            run("umount", self.path)
        wait_until(self.is_gone, f"{self.path} and its loop device are gone")
        self.keeper.tell("forget", self.path)
        if self.base:
            self.base.close()


class Place:
    """The directory, volumes and services of one test, and everything else it must not leave behind."""

    def __init__(self, keeper):
        self.keeper = keeper
        # Not one of pytest's: nobody but root may enter those. And a filesystem of its own: where an include path
        # leads to nothing, what it would be on is marked.
        self.base = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
        keeper.tell("directory", self.base)
        keeper.tell("mount", self.base)
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.base)
        self.volumes, self.services, self.actors = [], [], []

    def volume(self, kind="tmpfs", path=None, **options):
        """path: where to mount it instead of a directory of its own."""
        if missing := missing_for(kind):
            pytest.skip(missing)
        name = f"volume{len(self.volumes)}"
        volume = Volume(kind, path or self.base / name, self.base / (name + ".img"), self.keeper, **options)
        self.volumes.append(volume)
        return volume

    def service(self, **options):
        """A service that is not started yet."""
        directory = self.base / f"service{len(self.services)}"
        service = Service(directory, self.keeper, **options)
        self.services.append(service)
        return service

    def start(self, **options):
        """A service that protects."""
        return self.service(**options).start()

    def keep(self, actor):
        """Sees to it that an actor ends with the test."""
        self.actors.append(actor)
        return actor

    def unmount(self):
        """A process that was killed closes its files when it can no longer be told whose it was."""
        try:
            unmount(self.base)
        except AssertionError:
            run("umount", "--lazy", self.base)
            raise

    def close(self):
        problems = []
        for closing in [
            *(actor.kill for actor in self.actors),
            *(service.finish for service in self.services),
            *(volume.close for volume in reversed(self.volumes)),
            self.unmount,
        ]:
            try:
                closing()
            except (AssertionError, subprocess.SubprocessError) as problem:
                problems.append(str(problem))
        shutil.rmtree(self.base, ignore_errors=True)
        for _ in ("mount", "directory"):
            self.keeper.tell("forget", self.base)
        assert not problems, "\n\n".join(problems)


def unmount(path):
    """At once, but for the moment that who has answered an open, or was killed, needs to close the file."""
    wait_until(
        lambda: subprocess.run(["umount", path], stderr=subprocess.DEVNULL, check=False).returncode == 0,
        f"{path} can be unmounted",
        2,
    )


@contextlib.contextmanager
def mounted(place, target, *options):
    """Something mounted for a while, by options of mount(8)."""
    if not target.exists():
        target.mkdir()
    place.keeper.tell("mount", target)
    run("mount", *options, target)
    try:
        yield target
    finally:
        unmount(target)
        place.keeper.tell("forget", target)


def open_held(place, path, user=NOBODY):
    return place.keep(start_open(user, path)).wait_held()


def expect_protection(infected, clean):
    """As a condition that comes true: what is being restarted may need its time."""
    wait_until(lambda: open_as(NOBODY, infected).error == "EPERM", "malware is refused")
    assert open_as(NOBODY, clean).content == CLEAN


# --- the service -----------------------------------------------------------------------------------------------


def format_value(value):
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


class Workers:
    """What tests do to the workers of a service. pids() is its own; directory, keeper and freezers are its."""

    def workers(self, n=2):
        """The workers, once there are n."""
        return wait_until(
            lambda: (pids := self.pids("worker")) and len(pids) == n and pids, f"there are {n} workers"
        )

    def stop_workers(self, n=2):
        """Workers that stand still make every scan take as long as the test likes."""
        pids = self.workers(n)
        for pid in pids:
            self.freeze(pid)
        return pids

    def freeze(self, pid):
        """A process that hangs: one that is stopped by a signal is seen, and killed."""
        if pid not in self.freezers:
            self.freezers[pid] = Freezer(self.directory / f"freezer{pid}", self.keeper, pid)
        self.freezers[pid].freeze()
        return pid

    def holder(self):
        """Of the workers that stand still, the one that has been given a file."""
        (holder,) = wait_until(
            lambda: [pid for pid in self.pids("worker") if has_unread(pid, 3)], "one of the workers has been asked"
        )
        return holder

    def holders(self, n):
        """The workers that stand still and have been given a file, once there are n."""
        return wait_until(
            lambda: len(pids := [pid for pid in self.pids("worker") if has_unread(pid, 3)]) == n and pids,
            f"{n} workers have been asked",
        )

    def continue_workers(self, *pids):
        """All that stand still, or these, which may be others than workers."""
        for pid in pids or self.freezers:
            self.freezers[pid].thaw()

    def continue_idle_workers(self):
        """All but the one that has been given a file."""
        self.continue_workers(*set(self.freezers) - {self.holder()})

    def end_freezers(self):
        """When the workers have ended."""
        while self.freezers:
            self.freezers.popitem()[1].close()

    def hold(self, place, path):
        """An open that is held by a worker that stands still, while the other goes on."""
        self.stop_workers()
        opener = open_held(place, path)
        self.continue_idle_workers()
        return opener


class Service(Workers):
    """
    One holdfastd with directories of its own.

    include, exclude, ... are the keys of [on-access] with - written as _; engine, alerts, full_scan and fetch
    ([signatures]) hold those of these sections, extra is text that is put behind all of it. signatures is what the
    directory of signatures holds ({name: text}); None: there is no such directory. command is put before holdfastd,
    to run it elsewhere; programs is the directory it is in.
    """

    def __init__(
        self,
        directory,
        keeper,
        signatures=None,
        engine=None,
        alerts=None,
        full_scan=None,
        fetch=None,
        extra="",
        command=(),
        environment=None,
        run_dir=None,
        programs=BUILD / "src",
        **on_access,
    ):
        self.directory, self.keeper, self.command = directory, keeper, list(command)
        self.programs = programs
        self.token = uuid.uuid4().hex
        self.environment = {**os.environ, **SANITIZERS, **(environment or {}), TOKEN_VARIABLE: self.token}
        self.process = None
        self.disturbed = False  # the test has made something fail on purpose
        self.freezers = {}  # of workers, by pid

        directory.mkdir()
        for name in ("log", "state"):
            (directory / name).mkdir()
        shutil.chown(directory / "log", USER, USER)
        self.config = directory / "holdfast.conf"
        self.run_dir = run_dir or directory / "run"
        self.signatures = directory / "state" / "signatures"
        self.log = directory / "log" / "holdfast.log"
        self.stderr = directory / "stderr"
        self.sections = {
            "service": {"run-dir": self.run_dir, "state-dir": directory / "state"},
            "on-access": {key.replace("_", "-"): value for key, value in on_access.items()},
            "engine": {"workers": 2, **(engine or {})},
            "alerts": {"syslog": False, "log-file": self.log, **(alerts or {})},
            "full-scan": {"schedule": "off", **(full_scan or {})},
            "signatures": {"random-delay": 0, **(fetch or {})},
        }
        self.extra = extra
        self.write_config()
        if signatures is not None or fetch is not None:
            self.signatures.mkdir()
            shutil.chown(self.signatures, USER, USER)  # as it is installed
            self.write_signatures(signatures or {})

    # Before it runs, and between reloads.

    def write_config(self):
        lines = []
        for section, keys in self.sections.items():
            lines.append(f"[{section}]")
            for key, values in keys.items():
                for value in values if isinstance(values, (list, tuple)) else [values]:
                    lines.append(f"{key} = {format_value(value)}")
        self.config.write_text("\n".join(lines) + "\n" + self.extra)

    def write_signatures(self, signatures):
        for name, text in signatures.items():
            (self.signatures / name).write_text(text)

    # Running it.

    def launch(self):
        self.keeper.tell("token", self.token)
        with open(self.stderr, "ab") as stderr:
            self.process = subprocess.Popen(
                [*self.command, self.programs / "holdfastd", "--config", self.config],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                env=self.environment,
                cwd="/",
            )

    def start(self):
        after = self.position()
        self.launch()
        wait_until(
            lambda: self.process.poll() is not None
            or self.match(r"-> (protecting|watching without blocking|on-access is off): ", after),
            f"the service protects; it says:\n{self.errors()}",
        )
        assert self.process.poll() is None, f"holdfastd ended with {self.process.returncode}: {self.errors()}"
        return self

    def launch_to_end(self):
        """For services that must not start. Returns the exit status."""
        self.launch()
        return self.process.wait(timeout=PATIENCE)

    def errors(self):
        return self.stderr.read_text(errors="replace") if self.stderr.exists() else ""

    def stop(self):
        """Ends it as an administrator does. Returns the exit status."""
        send_signal(self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def reload(self, refused=False):
        """Reloads, and checks that it went as expected. Returns all lines about it."""
        after = self.position()
        send_signal(self.process.pid, signal.SIGHUP)
        line = self.expect(r"-> (configuration and signatures reloaded|reload refused|reload failed).*", after)
        lines = "\n".join(self.lines()[after:])
        assert (line[1] == "reload refused") == refused, f"the reload went otherwise than it should:\n{lines}"
        return lines

    # Its log. Lines are divided by newlines only: Unicode knows other separators.

    def lines(self):
        if not self.log.exists():
            return []
        text = self.log.read_bytes().decode("utf-8", "surrogateescape")
        return text.split("\n")[:-1]

    def position(self):
        """Where the next line will stand."""
        return len(self.lines())

    def match(self, pattern, after=0):
        for line in self.lines()[after:]:
            if match := re.search(pattern, line):
                return match
        return None

    def expect(self, pattern, after=0, timeout=PATIENCE):
        """Waits for a line."""
        try:
            return wait_until(lambda: self.match(pattern, after), "", timeout)
        except AssertionError:
            raise AssertionError(
                f"within {timeout} s no line says {pattern!r}; lines are:\n" + "\n".join(self.lines()[after:])
            ) from None

    def found(self, after=0):
        """The FOUND lines: path and signature of each."""
        matches = (re.search(r" -> (.*): (\S+) FOUND$", line) for line in self.lines()[after:])
        return [match.groups() for match in matches if match]

    def expect_found(self, path, after=0):
        return self.expect(rf" -> {re.escape(str(path))}: \S+ FOUND$", after)

    def status(self):
        """What holdfast status says of it."""
        done = subprocess.run(
            [program("holdfast"), "--config", self.config, "--json", "status"],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return json.loads(done.stdout)

    # Its processes.

    def processes(self):
        processes = [process for process in map(read_process, tagged({self.token})) if process]
        engines = {process.pid for process in processes if process.role == "holdfast-engine"}
        # A worker that was forked just now has not got its name yet.
        return [
            process._replace(role="holdfast-worker") if process.parent in engines else process
            for process in processes
        ]

    def pids(self, role):
        """holdfastd, guard, engine, report or worker."""
        if role == "holdfastd":
            return [self.process.pid]
        return sorted(process.pid for process in self.processes() if process.role == "holdfast-" + role)

    def pid(self, role):
        pids = self.pids(role)
        assert len(pids) == 1, f"there is not one {role} but {pids}; processes are {self.processes()}"
        return pids[0]

    def standbys(self, n=2):
        """Those that wait to be the guard, once there are n."""
        return wait_until(
            lambda: (pids := self.pids("stdby")) and len(pids) == n and pids, f"there are {n} standbys"
        )

    def signal(self, role, number):
        """To all processes of a role."""
        self.disturbed = True
        pids = self.pids(role)
        for pid in pids:
            send_signal(pid, number)
        return pids

    def lose_guard(self, number=None):
        """Ends the guard, and waits until a standby has taken over. Returns its pid."""
        after, guard = self.position(), self.pid("guard")
        self.signal("guard", number or signal.SIGKILL)
        self.expect(TOOK_OVER, after)
        return guard

    def lose_family(self):
        """Kills the guard and all who could take over before anybody notices. Returns the guard's pid."""
        guard, standbys = self.pid("guard"), self.standbys()
        self.disturbed = True
        send_signal(self.process.pid, signal.SIGSTOP)
        for pid in (*standbys, guard):
            send_signal(pid, signal.SIGKILL)
        send_signal(self.process.pid, signal.SIGCONT)
        return guard

    # After the test.

    def finish(self):
        """Ends what still runs, and tells whether anything went wrong that the test did not look at."""
        if not self.process:
            return
        problems = []
        for process in self.processes():
            if process.state == "T":
                send_signal(process.pid, signal.SIGCONT)
        self.continue_workers()
        if self.process.poll() is None:
            try:
                status = self.stop()
                if status != 0:
                    problems.append(f"holdfastd ended with status {status} on SIGTERM")
            except subprocess.TimeoutExpired:
                problems.append(f"holdfastd did not end on SIGTERM; left are {self.processes()}")
        try:
            wait_until(lambda: not self.processes(), "no process is left", 10)
        except AssertionError:
            problems.append(f"processes are left over: {self.processes()}")
            for process in self.processes():
                send_signal(process.pid, signal.SIGKILL)
        self.process.wait(timeout=PATIENCE)
        self.end_freezers()
        problems += self.accidents()
        assert not problems, "\n".join([*problems, "its log:", *self.lines(), "its stderr:", self.errors()])

    def accidents(self):
        accidents = [line for line in self.errors().splitlines() if SANITIZER_REPORT.search(line)]
        if not self.disturbed:
            accidents += [line for line in self.lines() if ACCIDENT.search(line)]
        return accidents


# --- the command line ------------------------------------------------------------------------------------------


def start_holdfast(service, *words, user="root", before=(), **options):
    """
    Starts a verb with the configuration of a service. A copy that everyone can reach, wherever it was built, and with
    the programs that it may start beside it. before is put before it; options are those of Popen().
    """
    account = pwd.getpwnam(user)
    binary = service.directory / "holdfast"
    if not binary.exists():
        for helper in ("holdfast-engine", "holdfast-fetch"):
            shutil.copy(program(helper), service.directory)
        shutil.copy(program("holdfast"), binary)
    identity = {} if user == "root" else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return subprocess.Popen(
        [*before, binary, "--config", service.config, *map(str, words)],
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "errors": "surrogateescape",
            "cwd": "/",
            "env": service.environment,
            **identity,
            **options,
        },
    )


def finish_holdfast(process, timeout=PATIENCE):
    """What it said, once it has ended."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def holdfast(service, *words, user="root", **options):
    """Runs a verb with the configuration of a service."""
    return finish_holdfast(start_holdfast(service, *words, user=user, **options))
