# SPDX-License-Identifier: GPL-2.0-only
"""
A machine of its own on a loop image: a real systemd, journald and rsyslogd, in which holdfastd is a unit and
protects the filesystem that all of it runs from, PID 1 included. It is booted by systemd-nspawn; the kernel is
ours, the mounts are not.

The system in it is the distribution's, made by debootstrap once and kept in CACHE. The programs under test are
copied into it, with the libraries that it lacks.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness import (
    BUILD,
    PATIENCE,
    REPOSITORY,
    SANITIZERS,
    TOKEN_VARIABLE,
    Workers,
    read_process,
    role_of,
    run,
    send_signal,
    tagged,
    wait_until,
)
from keeper import kill_all

CACHE = Path("/var/cache/holdfast-tests")
PACKAGES = ("systemd", "systemd-sysv", "dbus", "rsyslog", "logrotate")
TOOLS = ("debootstrap", "systemd-nspawn", "mkfs.ext4")

PROGRAMS = ("holdfastd", "holdfast-guard", "holdfast-engine", "holdfast-porter", "holdfast-report", "holdfast")
DIRECTORY = "/opt/holdfast"
UNIT = "holdfastd.service"

# All that is on the image, but for the directories that nspawn mounts something of the host's below.
INCLUDE = ("/etc", "/home", "/opt", "/root", "/srv", "/usr", "/var")

UNIT_TEXT = """
[Unit]
Description=holdfast, in a test

[Service]
Type=notify
ExecStart={directory}/holdfastd
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec={watchdog}
Restart=always
RestartSec=100ms
LimitNOFILE=65536
LimitCORE=0
{environment}
"""

# Of the system's own: what comes by itself, at any time, and what needs the world outside.
MASKED = ("timers.target", "cron.service", "console-getty.service", "systemd-logind.service")


def mirror_of_the_host():
    """Which release this machine runs, and where its packages come from."""
    (release,) = re.findall(r"^VERSION_CODENAME=(\S+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    targets = run("apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)").splitlines()
    uris = [words[2] for words in map(str.split, targets) if words[:2] == [release, "main"]]
    if not uris:
        pytest.skip(f"apt has no source for {release}")
    return release, uris[0]


def system_archive():
    """The system as it is installed; made when it is asked for the first time."""
    release, uri = mirror_of_the_host()
    archive = CACHE / f"{release}-{'-'.join(PACKAGES)}.tar"
    if archive.exists():
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-system-") as directory:
        root = Path(directory) / "root"
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", release, root, uri],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert made.returncode == 0, f"debootstrap {release} {uri}: {made.stdout[-2000:]}{made.stderr}"
        new = archive.with_suffix(".new")
        run("tar", "-C", root, "--exclude=./dev/*", "--exclude=./var/cache/apt/*", "-cf", new, ".")
        new.rename(archive)
    return archive


class Machine(Workers):
    """
    A machine that has been booted. include and the like are keys of [on-access]; token marks its processes for the
    keeper, who can end all of it though every open in it hangs.
    """

    def __init__(self, place, name="machine", watchdog="60s", engine=None, **on_access):
        for tool in TOOLS:
            if not shutil.which(tool):
                pytest.skip(f"there is no {tool}")
        archive = system_archive()
        self.place, self.token = place, f"{name}-{place.base.name}"
        self.directory, self.keeper, self.freezers = place.base, place.keeper, {}
        place.keeper.tell("token", self.token)
        self.volume = place.volume("ext4", size=1 << 30)
        self.root = self.volume.path
        run("tar", "-C", self.root, "-xpf", archive)
        self.install(watchdog, engine or {}, on_access)
        self.output = place.base / f"{name}.out"
        self.nspawn, self.init = None, None

    # Before it runs.

    def write(self, path, text):
        (self.root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path.lstrip("/")).write_text(text)

    def copy_program(self, name):
        shutil.copy(BUILD / "src" / name, self.root / DIRECTORY.lstrip("/"))
        for library in re.findall(r"=> (/\S+)", run("ldd", BUILD / "src" / name)):
            if not (self.root / library.lstrip("/")).exists():
                shutil.copy(library, self.root / "usr/local/lib")

    def install(self, watchdog, engine, on_access):
        (self.root / DIRECTORY.lstrip("/")).mkdir()
        for name in PROGRAMS:
            self.copy_program(name)
        run("chroot", self.root, "ldconfig")
        run("systemd-sysusers", f"--root={self.root}", REPOSITORY / "config/holdfast.sysusers")
        self.write("/etc/tmpfiles.d/holdfast.conf", (REPOSITORY / "config/holdfast.tmpfiles").read_text())
        self.write("/etc/machine-id", "")
        (self.root / "var/log/journal").mkdir(exist_ok=True)

        sections = {
            "on-access": {"include": INCLUDE, **{k.replace("_", "-"): v for k, v in on_access.items()}},
            "engine": {"workers": 2, **engine},
            "full-scan": {"schedule": "off"},
        }
        lines = []
        for section, keys in sections.items():
            lines.append(f"[{section}]")
            for key, values in keys.items():
                for value in values if isinstance(values, tuple) else (values,):
                    lines.append(f"{key} = {value}")
        self.write("/etc/holdfast/holdfast.conf", "\n".join(lines) + "\n")

        environment = {**SANITIZERS, TOKEN_VARIABLE: self.token}
        text = "\n".join(f"Environment={name}={value}" for name, value in environment.items())
        unit = UNIT_TEXT.format(directory=DIRECTORY, watchdog=watchdog, environment=text)
        self.write(f"/etc/systemd/system/{UNIT}", unit)
        for name in MASKED:
            (self.root / "etc/systemd/system" / name).symlink_to("/dev/null")

    def boot(self):
        with open(self.output, "wb") as output:
            self.nspawn = subprocess.Popen(
                [
                    *("systemd-nspawn", "--boot", "--register=no", "--keep-unit", f"--directory={self.root}"),
                    *("--machine=holdfast-test", "--private-network", "--capability=all"),
                    # Nothing of the host's on the image: what is in scope there gets a mark.
                    *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
                    # Ours to grant: by itself it filters these.
                    "--system-call-filter=fanotify_init fanotify_mark open_by_handle_at name_to_handle_at",
                    "--console=pipe",
                    # PID 1 does not end with nspawn.
                    f"--setenv={TOKEN_VARIABLE}={self.token}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", TOKEN_VARIABLE: self.token},
            )
        self.init = wait_until(self.find_init, f"the machine boots: {self.output.read_text(errors='replace')}")
        wait_until(
            lambda: self.try_run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"),
            f"the machine is up: {self.output.read_text(errors='replace')}",
        )
        return self

    def find_init(self):
        assert self.nspawn.poll() is None, self.output.read_text(errors="replace")
        for name in filter(str.isdigit, os.listdir("/proc")):
            process = read_process(name)
            if process and process.parent == self.nspawn.pid and process.role == "systemd":
                return process.pid
        return None

    # While it runs.

    def command(self, *argv):
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ["nsenter", f"--target={self.init}", *spaces, "--root", "--wd=/", "--", *map(str, argv)]

    def start(self, *argv):
        """Starts a command in there."""
        return subprocess.Popen(
            self.command(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", TOKEN_VARIABLE: self.token},
        )

    def finish(self, process, timeout=PATIENCE):
        """It has to end, whatever is held."""
        argv = process.args
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            waits = self.who_waits()
            process.kill()
            raise AssertionError(f"{argv} hangs, after {timeout} s; who waits for what:\n{waits}") from None
        return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)

    def try_run(self, *argv, timeout=PATIENCE):
        return self.finish(self.start(*argv), timeout)

    def run(self, *argv, timeout=PATIENCE):
        done = self.try_run(*argv, timeout=timeout)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def waits(self):
        """The programs that run in there, and what of the kernel each waits in."""
        waits = []
        space = os.readlink(f"/proc/{self.init}/ns/pid")
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == space:
                    waits.append((role_of(name, "?"), Path(f"/proc/{name}/wchan").read_text()))
            except OSError:
                continue
        return waits

    def who_waits(self):
        """For the one who has to find out."""
        return "\n".join(map(" ".join, self.waits()))

    def protect(self):
        """Starts the service. Before the first mark: is nothing in scope that is not the machine's own?"""
        device = os.stat(self.root).st_dev
        shown = f"{os.major(device)}:{os.minor(device)}"
        mounts = Path(f"/proc/{self.init}/mountinfo").read_text().splitlines()
        for mount in map(str.split, mounts):
            inside = any(mount[4] == path or mount[4].startswith(path + "/") for path in INCLUDE)
            assert not inside or mount[2] == shown, f"not the machine's own, and in scope: {mount}"
        self.run("systemctl", "start", UNIT)
        return self

    def pids(self, role):
        """As this machine numbers them: holdfastd, guard, engine, report or worker."""
        processes = [process for process in map(read_process, tagged({self.token})) if process]
        engines = {process.pid for process in processes if process.role == "holdfast-engine"}
        name = role if role == "holdfastd" else f"holdfast-{role}"
        if role == "worker":
            return sorted(process.pid for process in processes if process.parent in engines)
        return sorted(process.pid for process in processes if process.role == name and process.parent not in engines)

    def is_init_held(self):
        """Whether PID 1 waits for our answer."""
        return "fanotify" in Path(f"/proc/{self.init}/wchan").read_text()

    def main_pid(self):
        """As the machine numbers it; 0: there is none."""
        return int(self.run("systemctl", "show", "--property=MainPID", "--value", UNIT))

    def journal(self, *match):
        """Messages of the journal."""
        text = self.run("journalctl", "--quiet", "--no-pager", "--output=cat", *match)
        return text.splitlines()

    # After the test.

    def power_off(self):
        """As it would by itself: whatever is held, it must come to an end."""
        if not self.nspawn or self.nspawn.poll() is not None:
            return
        self.nspawn.terminate()
        try:
            self.nspawn.wait(timeout=PATIENCE)
            problem = None
        except subprocess.TimeoutExpired:
            said = self.output.read_text(errors="replace")[-3000:]
            problem = f"the machine does not power off; who waits for what:\n{self.who_waits()}\nit said:\n{said}"
            kill_all({self.token})
            self.nspawn.wait(timeout=PATIENCE)
        wait_until(lambda: not tagged({self.token}), "all of its processes have ended")
        assert not problem, problem

    def close(self):
        for pid in tagged({self.token}):
            send_signal(pid, signal.SIGCONT)
        self.continue_workers()
        self.power_off()
        self.end_freezers()
