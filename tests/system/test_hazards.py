# SPDX-License-Identifier: GPL-2.0-only
"""
What has hung machines with other on-access scanners, and must not with this one. docs/RELIABILITY.md has the table
of all hazards and of the test for each; here are those that no other file is about.
"""
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    PATIENCE,
    Actor,
    create,
    encode_path,
    expect_protection,
    is_sanitized,
    mounted,
    open_as,
    open_held,
    run,
    send_signal,
    wait_until,
)

FAN_UNLIMITED_QUEUE, FAN_UNLIMITED_MARKS = 0x10, 0x20

# What opens files, starts programs, or asks who knows whom.
TRACED = "open,openat,openat2,creat,open_by_handle_at,fork,vfork,clone,clone3,execve,execveat,connect,dup,dup2,dup3"


class Trace:
    """What one thread of a process asks of the kernel."""

    def __init__(self, pid, path):
        self.path = path
        self.process = subprocess.Popen(
            ["strace", "-y", "-qq", "-o", path, f"--trace={TRACED}", f"--attach={pid}"], stderr=subprocess.DEVNULL
        )
        wait_until(
            lambda: re.search(r"TracerPid:\t[1-9]", Path(f"/proc/{pid}/status").read_text()), "strace has attached"
        )

    def calls(self):
        """All of them, when it has detached."""
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)
        return [line for line in self.path.read_text().splitlines() if re.match(r"\w+\(", line)]


def is_open(call):
    """Whether it opened a file, in the way that an event is raised for: not a directory, and not only its name."""
    return call.startswith(("open", "creat")) and not re.search(r"O_PATH|O_DIRECTORY", call)


def in_proc(call):
    return re.match(r'open\w*\((\d+</proc[>/]|(AT_FDCWD\S*, )?"/proc/)', call)


def keep_busy(place, service, volume):
    """All that comes up in a service's life."""
    service.reload()
    create(volume / "home/new eicar", EICAR)
    for name in ("eicar", "clean", "new eicar"):
        open_as(NOBODY, volume / "home" / name)
    with mounted(place, volume / "home/mnt", "-t", "tmpfs", "tmpfs"):
        wait_until(lambda: "home/mnt" in str(service.status()["mounts"]), "the mount is seen")
        create(volume / "home/mnt/eicar", EICAR)
        assert open_as(NOBODY, volume / "home/mnt/eicar").error == "EPERM"
    for role in ("report", "worker", "engine"):
        (old, *_) = service.signal(role, signal.SIGKILL)
        wait_until(lambda role=role, old=old: service.pids(role) and old not in service.pids(role), f"a new {role}")
    expect_protection(volume / "home/eicar", volume / "home/clean")
    service.reload()


@pytest.fixture
def traced(place, volume, infected, clean):
    if is_sanitized():
        pytest.skip("what AddressSanitizer opens is not ours")
    service = place.start(include=volume / "home")
    return service, {role: Trace(service.pid(role), place.base / role) for role in ("guard",)} | {
        "holdfastd": Trace(service.process.pid, place.base / "holdfastd")
    }


def test_the_guard_opens_no_file_and_starts_no_program(place, volume, traced):
    """Neither by a name, nor by /proc/self/fd, nor through a library that looks up who somebody is."""
    service, traces = traced
    keep_busy(place, service, volume)
    calls = traces["guard"].calls()
    traces["holdfastd"].calls()
    opened = [call for call in calls if is_open(call)]
    assert opened, "the trace is empty"
    assert not [call for call in opened if not in_proc(call) or "/fd/" in call.split('"')[1]]
    # Threads are cloned by those that are not the loop.
    assert not [call for call in calls if re.match(r"v?fork|clone|execve|connect", call)]


def test_the_supervisor_opens_nothing_after_its_start(place, volume, traced):
    service, traces = traced
    keep_busy(place, service, volume)
    calls = traces["holdfastd"].calls()
    traces["guard"].calls()
    assert [call for call in calls if call.startswith("clone")], "the trace has not seen it start programs"
    assert not [call for call in calls if is_open(call) and not in_proc(call)]
    assert not [call for call in calls if re.match(r"vfork|execve|connect|clone.*CLONE_VFORK", call)]


OF_THE_KERNEL = ("[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]")


def read_mappings(pid):
    """Of a process: the name of each, and its flags."""
    mappings = []
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if re.match(r"[0-9a-f]+-[0-9a-f]+$", words[0]):
            name = " ".join(words[5:])
        elif words[0] == "VmFlags:":
            mappings.append((name, words[1:]))
    return mappings


@pytest.mark.parametrize("role", ["holdfastd", "guard"])
def test_no_page_of_it_can_be_missing(place, volume, infected, clean, role):
    """Every mapping is locked, so that none has to be read back, by whatever way, while openers wait."""
    if is_sanitized():
        pytest.skip("AddressSanitizer makes mlockall() do nothing")
    service = place.start(include=volume / "home")
    expect_protection(infected, clean)
    mappings = read_mappings(service.pids(role)[0])
    assert len(mappings) > 20
    loose = [name for name, flags in mappings if "lo" not in flags and name not in OF_THE_KERNEL]
    assert not loose, f"not locked: {loose}"


def test_the_kernels_queue_has_no_end(place, volume):
    """One that has lets opens pass when it is full, with no more than a word about it."""
    service = place.start(include=volume.path)
    infos = [path.read_text() for path in Path(f"/proc/{service.pid('guard')}/fdinfo").iterdir()]
    groups = [int(match[1], 16) for text in infos if (match := re.search(r"^fanotify flags:(\w+)", text, re.M))]
    asking = [flags for flags in groups if flags & 0xC]  # FAN_CLASS_CONTENT, FAN_CLASS_PRE_CONTENT
    assert len(asking) == 2
    assert all(flags & FAN_UNLIMITED_QUEUE and flags & FAN_UNLIMITED_MARKS for flags in asking)


# Few enough to fill, and no fewer than the guard starts with.
DESCRIPTORS, HELD = 7224, 1080


def test_more_opens_than_descriptors_wait_and_none_is_refused(place, volume, clean):
    """The kernel refuses an open that it finds no descriptor for; so the guard must leave off reading before."""
    service = place.start(
        include=volume.path, hold_timeout="60m", command=["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"]
    )
    service.stop_workers()
    crowd = place.keep(Actor("crowd", NOBODY, path=encode_path(clean), n=2 * HELD)).wait_for_about()
    wait_until(lambda: crowd_waits(crowd.pid, 2 * HELD), "all of them wait")
    assert service.status()["held"] < 2 * HELD, "nothing is full: the test has to be made larger"
    service.continue_workers()
    (reply,) = crowd.finish(60)
    assert reply["answers"] == {None: 2 * HELD}


def crowd_waits(pid, n):
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    return sum("fanotify" in (task / "wchan").read_text() for task in tasks) == n


def test_a_filesystem_can_be_unmounted_though_its_scan_hangs(place, volume):
    """It is busy until the worker is given up, and no longer."""
    path = volume.write("clean", CLEAN)
    service = place.start(include=volume.path, hold_timeout="60m", engine={"workers": 2, "max-scan-time": "2s"})
    service.stop_workers()
    opener = open_held(place, path)
    wait_until(lambda: service.status()["held"] == 1, "a worker has it")
    service.disturbed = True
    opener.kill()
    assert subprocess.run(["umount", volume.path], stderr=subprocess.DEVNULL, check=False).returncode != 0
    wait_until(
        lambda: subprocess.run(["umount", volume.path], stderr=subprocess.DEVNULL, check=False).returncode == 0,
        "it can be unmounted",
    )


# --- every path answers ----------------------------------------------------------------------------------------


def remove(volume, path):
    run("rm", path)


def remount(volume, path):
    run("mount", "-o", "remount,ro", volume.path)


def unmount_lazily(volume, path):
    run("umount", "--lazy", volume.path)


@pytest.mark.every_filesystem
@pytest.mark.parametrize("what", [remove, remount, unmount_lazily])
def test_an_open_is_answered_whatever_becomes_of_its_file_meanwhile(place, volume, infected, clean, what):
    service = place.start(include=volume / "home", hold_timeout="60m")
    service.stop_workers()
    openers = {path: open_held(place, path) for path in (infected, clean)}
    what(volume, infected)
    service.continue_workers()
    assert openers[infected].opened().error == "EPERM"
    assert openers[clean].opened().content == CLEAN


@pytest.mark.parametrize("number", [signal.SIGCONT, signal.SIGWINCH, signal.SIGURG], ids=lambda n: n.name)
def test_signals_interrupt_no_answer(place, volume, infected, clean, number):
    """Of those that end nobody: reads and writes of the guard are cut short by them."""
    service = place.start(include=volume / "home", hold_timeout="60m")
    guard = service.pid("guard")
    hammers = [
        place.keep(Actor("hammer", NOBODY, clean=[encode_path(clean)], infected=[encode_path(infected)]))
        for _ in range(2)
    ]
    for hammer in hammers:
        hammer.wait_for_about()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        send_signal(guard, number)
    for hammer in hammers:
        hammer.process.stdin.close()
        hammer.process.stdin = None
        (reply,) = hammer.finish()
        assert reply["opens"] > 0 and reply["wrong"] == [0, 0], reply
    assert service.pid("guard") == guard
