# SPDX-License-Identifier: GPL-2.0-only
"""What each process may do, read back from /proc while it runs."""
import os
import pwd
import re
from pathlib import Path

import pytest
from harness import CLEAN, EICAR, NOBODY, USER, is_sanitized, open_as, read_status, wait_until

# Numbers of include/uapi/linux/capability.h.
CAPABILITIES = {
    "DAC_READ_SEARCH": 2,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "IPC_LOCK": 14,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "SYS_NICE": 23,
    "SYS_RESOURCE": 24,
    "LEASE": 28,
}
NONE = set()
SUPERVISOR = {"SETUID", "SETGID", "SETPCAP", "SYS_ADMIN", "KILL", "IPC_LOCK", "DAC_READ_SEARCH"}
GUARD = {"SYS_ADMIN", "DAC_READ_SEARCH", "SYS_PTRACE", "IPC_LOCK", "LEASE", "SYS_NICE"}

# Who each process is, what it has, what it could at most get back by executing something, and whether it is barred
# from getting anything that way. The supervisor starts the guard, whose privileges thus bound its own.
TABLE = {
    # role: user, effective and permitted, bounding, no_new_privs
    "holdfastd": ("root", SUPERVISOR, SUPERVISOR | GUARD, None),
    "guard": ("root", GUARD, NONE, True),
    "stdby": ("root", GUARD, NONE, True),
    "engine": (USER, NONE, NONE, True),
    "worker": (USER, NONE, NONE, True),
    "report": (USER, NONE, NONE, True),
    "porter": (USER, NONE, NONE, True),
    "fetch": (USER, NONE, NONE, True),
}

ROLES = pytest.mark.parametrize("role", TABLE)


@pytest.fixture
def service(place, volume, mirror):
    """
    One that has been at work: what is set up late is there too. Started by somebody in many groups. It is fetching
    signatures, from a mirror that does not answer.
    """
    infected, clean = volume.write("eicar", EICAR), volume.write("clean", CLEAN)
    mirror.rules = [{"stall": 0}]
    service = place.start(
        include=volume.path, command=["setpriv", "--groups=1,2,3", "--"], fetch={"mirror": mirror.url}
    )
    wait_until(lambda: mirror.account, "it asks for signatures")
    service.workers()
    assert open_as(NOBODY, infected).error == "EPERM"
    assert open_as(NOBODY, clean).content == CLEAN
    service.expect_found(infected)
    return service


def capability_names(mask):
    names = {number: name for name, number in CAPABILITIES.items()}
    return {names.get(bit, str(bit)) for bit in range(64) if int(mask, 16) >> bit & 1}


@ROLES
def test_capabilities_are_those_that_are_used(service, role):
    _, permitted, bounding, _ = TABLE[role]
    for pid in service.pids(role):
        status = read_status(pid)
        held = {name: capability_names(status[name]) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")}
        assert held == {
            "CapEff": permitted,
            "CapPrm": permitted,
            "CapBnd": bounding,
            "CapInh": NONE,
            "CapAmb": NONE,
        }, f"{role} ({pid})"


@ROLES
def test_every_process_runs_as_its_user(service, role):
    user, _, _, no_new_privs = TABLE[role]
    account = pwd.getpwnam(user)
    for pid in service.pids(role):
        status = read_status(pid)
        assert status["Uid"].split() == [str(account.pw_uid)] * 4
        assert status["Gid"].split() == [str(account.pw_gid)] * 4
        if user != "root":
            assert status["Groups"] == "", f"{role} is still in groups"
        if no_new_privs is not None:
            assert status["NoNewPrivs"] == str(int(no_new_privs))


def test_every_process_has_a_row(service):
    roles = {process.role.removeprefix("holdfast-") for process in service.processes()}
    assert roles == set(TABLE)


def test_workers_are_filtered_by_seccomp(service):
    for pid in service.workers():
        status = read_status(pid)
        assert status["Seccomp"] == "2", "no filter of system calls"
        assert int(status["Seccomp_filters"]) >= 1
        assert status["NoNewPrivs"] == "1"


def descriptors(pid):
    """Number: what it is. The workers come and go: None when it has gone."""
    directory = Path(f"/proc/{pid}/fd")
    return {int(entry.name): os.readlink(entry) for entry in directory.iterdir()}


def test_a_worker_has_nothing_open_but_its_socket(service):
    for pid in service.workers():
        wait_until(lambda pid=pid: set(descriptors(pid)) == {0, 1, 2, 3}, "the worker has closed the scanned file")
        assert re.fullmatch(r"socket:\[\d+\]", descriptors(pid)[3])


@ROLES
def test_only_guards_hold_the_fanotify_groups(service, role):
    """Whoever else held the two of opens would keep openers waiting after their death. The other is of moves."""
    for pid in service.pids(role):
        groups = [what for what in descriptors(pid).values() if "fanotify" in what]
        assert len(groups) == (3 if role in ("guard", "stdby") else 0), f"{role}: {groups}"


@pytest.mark.parametrize("role", ["engine", "worker", "guard", "stdby"])
def test_what_it_has_in_memory_is_nobody_elses_business(service, role):
    """A non-dumpable process belongs to root in /proc, so others of the same user cannot look into it."""
    for pid in service.pids(role):
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0


@pytest.mark.parametrize(
    "role, score",
    [("holdfastd", -1000), ("guard", -1000), ("stdby", -1000), ("engine", 0), ("report", 0), ("worker", 1000)],
)
def test_workers_are_the_first_to_go_when_memory_runs_out(service, role, score):
    if score < 0 and "SYS_RESOURCE" not in capability_names(read_status(os.getpid())["CapEff"]):
        pytest.skip("nobody may lower a score here: this machine withholds CAP_SYS_RESOURCE")
    for pid in service.pids(role):
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == score


@pytest.mark.parametrize("role", ["holdfastd", "guard"])
def test_memory_is_locked(service, role):
    """Paging in could wait for an open that waits for us."""
    if not read_status(service.pids(role)[0])["VmLck"].startswith("0 "):
        return
    assert is_sanitized(), "nothing is locked"
    pytest.skip("AddressSanitizer makes mlockall() do nothing")


def test_the_control_socket_is_for_root_and_its_group_only(service):
    status = os.stat(service.run_dir / "control")
    assert status.st_mode & 0o777 == 0o660
    assert status.st_uid == 0


def test_everybody_may_ask_for_a_scan(service):
    """Whoever has opened a file may ask: it is the descriptor that shows the right."""
    status = os.stat(service.run_dir / "scan")
    assert status.st_mode & 0o777 == 0o666
    assert status.st_uid == 0


def test_what_the_guard_keeps_is_roots_and_for_the_control_group_to_read(service):
    """Whoever could write there could call any file clean."""
    scans = service.directory / "state" / "scans"
    group = pwd.getpwnam(USER).pw_gid
    for path in (scans, scans / "reports"):
        status = os.stat(path)
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, group, 0o2750)
    for path in (path for path in scans.iterdir() if path.is_file()):
        status = os.stat(path)
        assert (status.st_uid, status.st_mode & 0o7777) == (0, 0o600), path


def test_every_thread_of_the_guard_has_dropped_what_it_has(service):
    """The one that walks through all files for a full scan too, and it yields to everything else."""
    tasks = list(Path(f"/proc/{service.pid('guard')}/task").iterdir())
    assert len(tasks) > 1
    for task in tasks:
        fields = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        assert capability_names(fields["CapEff"].strip()) == capability_names(fields["CapPrm"].strip()) == GUARD
        assert fields["NoNewPrivs"].strip() == "1"
    niceness = [int((task / "stat").read_text().rsplit(")", 1)[1].split()[16]) for task in tasks]
    assert niceness.count(19) == 1, niceness


def test_the_scratch_directory_is_seen_by_the_engine_only(service):
    """It is a filesystem in memory, in a mount namespace of the engine's own."""
    mounts = Path(f"/proc/{service.pid('engine')}/mounts").read_text().splitlines()
    scratch = [line.split() for line in mounts if line.split()[1] == str(service.run_dir / "scratch")]
    assert len(scratch) == 1 and scratch[0][2] == "tmpfs"
    assert {"nosuid", "nodev", "noexec"} <= set(scratch[0][3].split(","))
    assert str(service.run_dir) not in Path("/proc/self/mounts").read_text()
    assert not os.listdir(service.run_dir / "scratch")
