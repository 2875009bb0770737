# SPDX-License-Identifier: GPL-2.0-only
"""
The service's own scans: what they look at, what they leave, and when they begin, pause and go on.

What is scanned is on a volume of its own that nothing protects, so that a test may change it as it likes.
"""
import contextlib
import datetime
import grp
import json
import mmap
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time

import pytest
from harness import (
    CLEAN,
    EICAR,
    MARKER,
    MARKER_SIGNATURE,
    NOBODY,
    PATIENCE,
    USER,
    holdfast,
    mounted,
    open_as,
    run,
    unmount,
    wait_until,
)
from test_remote import Served

# A file that was changed within the resolution of its times could change again without a trace.
SETTLE = 0.1
# What is in a directory that has changed so short a time before a scan is interrupted is looked at once more.
OLDER = 3.5

# What keeps track of each change of a file in its times, and what does not.
REMEMBERED = ("ext4", "xfs", "btrfs")

CLEAN_EXIT, INFECTED_EXIT, ERROR_EXIT = 0, 1, 2


def start(place, *paths, engine=None, signatures=None, environment=None, include=None, **full_scan):
    """A service that scans these paths, and protects something else unless it is told otherwise."""
    return place.start(
        include=include or place.volume().path,
        engine=engine,
        signatures=signatures,
        environment=environment,
        full_scan={"path": paths, **{key.replace("_", "-"): value for key, value in full_scan.items()}},
    )


def read_report(service, *words):
    done = holdfast(service, "--json", "report", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run_full(service, *words, code=CLEAN_EXIT):
    """Runs a full scan to its end. Returns its report."""
    time.sleep(SETTLE)
    done = holdfast(service, "scan", "--full", "--wait", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return read_report(service)


def events(report, kind):
    """The paths of the events of a kind, in their order."""
    return [event["path"] for event in report["events"] if event.get("type") == kind]


def skipped(report):
    return {event["path"]: event for event in report["events"] if event.get("type") == "skipped"}


def paths_of(volume, *names):
    return sorted(str(volume / name) for name in names)


def fill(volume, n, directory="many", size=0):
    """Small files that differ, a hundred in a directory."""
    for i in range(n):
        path = volume / f"{directory}/{i // 100}/{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d\n" % i + CLEAN + bytes(size))
    time.sleep(SETTLE)


def now_of(service):
    return service.status()["full_scan"].get("now", {})


def wait_scanned(service, n):
    """Until so many files have their verdict, and the scan still runs."""
    wait_until(lambda: now_of(service).get("scanned", 0) >= n, f"{n} files are scanned")


def wait_finished(service, after=0):
    service.expect(r"full scan: finished", after)
    wait_until(lambda: service.status()["full_scan"]["state"] == "idle", "it says so")
    return read_report(service)


def clean_verdicts(service):
    return service.status()["counters"]["scans"]["clean"]


# --- what is looked at -----------------------------------------------------------------------------------------

TREE = (
    "bin/x", "bin/deep/x", "bin2/x", "sbin/x", "usr/bin/x", "usr/bin2/x",
    "test.txt", "sub/test.txt", "atest.txt", "test.txt2", "test.txt.d/x",
    "srv/in/x", "srv/inbox/x", "srv/main/x",
)  # fmt: skip

# The table of docs/SCANNING.md: a rule, and what it leaves out of that tree. {}: the volume.
RULES = {
    "{}/bin": {"bin/x", "bin/deep/x"},
    "{}/bin/": {"bin/x", "bin/deep/x"},
    "/**/bin": {"bin/x", "bin/deep/x", "usr/bin/x"},
    "/**/test.txt": {"test.txt", "sub/test.txt"},
    "{}/srv/in": {"srv/in/x"},
    "{}/srv/in*": {"srv/in/x", "srv/inbox/x"},
}


@pytest.mark.parametrize("rule, left_out", RULES.items(), ids=RULES.keys())
def test_a_rule_means_whole_names_wherever_it_stands(place, volume, rule, left_out):
    """In [on-access], [full-scan], --exclude and explain: the same files are left out."""
    for name in TREE:
        volume.write(name, EICAR)
    rule = rule.format(volume.path)
    service = place.start(
        include=volume.path, exclude=rule, full_scan={"path": volume.path, "exclude": rule}
    )
    rest = sorted(set(TREE) - left_out)

    refused = [name for name in sorted(TREE) if open_as(NOBODY, volume / name).error == "EPERM"]
    assert refused == rest, "on access"

    report = run_full(service, code=INFECTED_EXIT)
    assert sorted(events(report, "found")) == paths_of(volume, *rest), "the full scan"
    assert {event["rule"] for event in skipped(report).values()} == {rule.rstrip("/")}

    done = holdfast(service, "--json", "scan", "--exclude", rule, volume.path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["path"] for line in lines if line["type"] == "found") == paths_of(volume, *rest), "on demand"

    answers = json.loads(holdfast(service, "--json", "explain", *(volume / name for name in TREE)).stdout)
    for scope in ([a["scope"] for a in answers], [a["full_scan"]["scope"] for a in answers]):
        assert [name for name, s in zip(TREE, scope) if s == "excluded"] == [n for n in TREE if n in left_out]


@pytest.mark.parametrize("rule, name", [("bin", "bin"), ("test.txt", "test.txt"), ("bin/", "bin")])
def test_a_relative_rule_is_refused_with_advice(place, volume, rule, name):
    service = place.service(include=volume.path)
    for section in ("on-access", "full-scan"):
        config = service.config.with_name("bad.conf")
        config.write_text(f"[on-access]\ninclude = /home\n[{section}]\nexclude = {rule}\n")
        done = holdfast(service, "check-config", config)
        assert done.returncode == ERROR_EXIT
        assert f"{config}:4: error: " in done.stdout and "/**/" in done.stdout, done.stdout
    done = holdfast(service, "scan", "--exclude", rule, volume.path)
    assert (done.returncode, done.stdout) == (ERROR_EXIT, "")
    assert f"/**/{name}" in done.stderr


@contextlib.contextmanager
def two_filesystems(place, volume):
    """Another filesystem below the volume, and bind mounts of both."""
    for name in ("own", "shown"):
        volume.write(f"{name}/x", EICAR)
    for name in ("other", "bind-own", "bind-other"):
        (volume / name).mkdir()
    other = place.volume("ext4", path=volume / "other")
    other.write("sub/x", EICAR)
    with mounted(place, volume / "bind-own", "--bind", volume / "shown"):
        with mounted(place, volume / "bind-other", "--bind", other / "sub"):
            yield
    other.close()
    place.volumes.remove(other)


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
@pytest.mark.parametrize("cross", [True, False])
def test_cross_filesystems_no_stays_on_its_filesystem(place, volume, cross):
    """Descriptors are passed in both kinds of scans. A bind mount belongs to what it is of."""
    own = ["own/x", "shown/x", "bind-own/x"]
    others = ["other/sub/x", "bind-other/x"]
    expected = paths_of(volume, *own, *(others if cross else []))
    with two_filesystems(place, volume):
        service = start(place, volume.path, cross_filesystems=cross)
        report = run_full(service, code=INFECTED_EXIT)
        assert sorted(events(report, "found")) == expected
        other = {path: event for path, event in skipped(report).items() if event["reason"] == "filesystem"}
        assert sorted(other) == ([] if cross else paths_of(volume, "bind-other", "other"))

        done = holdfast(service, "scan", *([] if cross else ["-x"]), volume.path)
        assert sorted(line.split(":")[0] for line in done.stdout.splitlines() if "FOUND" in line) == expected

        answers = json.loads(
            holdfast(service, "--json", "explain", *(volume / name for name in own + others)).stdout
        )
        assert [answer["full_scan"]["scanned"] for answer in answers] == [True] * 3 + [cross] * 2
        service.stop()


@pytest.mark.parametrize("volume", ["btrfs"], indirect=True)
def test_a_subvolume_belongs_to_its_filesystem(place, volume):
    volume.write("subvolume/x", EICAR)
    service = start(place, volume.path, cross_filesystems=False)
    assert events(run_full(service, code=INFECTED_EXIT), "found") == paths_of(volume, "subvolume/x")
    assert "subvolume/x: " in holdfast(service, "scan", "-x", volume.path).stdout


def test_what_the_kernel_makes_up_is_counted_and_not_warned_of(place, volume):
    volume.write("x", CLEAN)
    (volume / "sys").mkdir()
    with mounted(place, volume / "proc", "-t", "proc", "proc"), mounted(
        place, volume / "sys", "-t", "sysfs", "sysfs"
    ):
        service = start(place, volume.path, "/proc", "/sys/kernel")
        report = run_full(service)
        assert report["summary"]["skipped"] == {"kernel": 4}
        assert (report["summary"]["files"], report["summary"]["unreadable"]) == (1, 0)
        assert sorted(skipped(report)) == sorted([*paths_of(volume, "proc", "sys"), "/proc", "/sys/kernel"])
        assert not [line for line in service.lines() if "/proc" in line or "/sys" in line]
        text = holdfast(service, "explain", volume / "proc/version").stdout
        assert "full scan: " in text and "NOT SCANNED all the same" in text
        service.stop()


@pytest.mark.parametrize("remote", [False, True])
def test_fuse_filesystems_are_skipped_unless_configured(place, volume, remote):
    if not os.path.exists("/usr/bin/bindfs") or not os.path.exists("/dev/fuse"):
        pytest.skip("there is no bindfs or no /dev/fuse here")
    behind = place.volume()
    behind.write("eicar", EICAR)
    volume.write("x", CLEAN)
    served = Served(behind.path, volume / "served")
    served.mount()
    try:
        service = start(place, volume.path, remote_filesystems=remote)
        report = run_full(service, code=INFECTED_EXIT if remote else CLEAN_EXIT)
        assert events(report, "found") == ([f"{served.path}/eicar"] if remote else [])
        assert report["summary"]["skipped"] == ({} if remote else {"remote": 1})
        if not remote:
            assert skipped(report)[str(served.path)]["filesystem"] == "fuse"
        done = holdfast(service, "scan", volume.path)
        assert (done.returncode, "FOUND" in done.stdout) == (CLEAN_EXIT, False)
        service.stop()
    finally:
        served.close()


# --- what it says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
def test_the_report_names_what_was_found_and_what_was_not_looked_at(place, volume):
    volume.write("clean", CLEAN)
    volume.write("empty", b"")
    volume.write("bad", EICAR)
    volume.write("left out/bad", EICAR)
    volume.write("large", bytes(2 << 20))
    os.link(volume / "clean", volume / "again")
    os.symlink("bad", volume / "link")
    os.mkfifo(volume / "fifo")
    missing = place.base / "missing"
    service = start(
        place,
        volume.path,
        missing,
        exclude=volume / "left out",
        signatures=MARKER_SIGNATURE,
        engine={"max-file-size": "1M"},
    )
    report = run_full(service, code=INFECTED_EXIT)
    summary = report["summary"]
    counts = {"files": 4, "known": 0, "scanned": 3, "infected": 1, "incomplete": 1, "failed": 0, "sessions": 1}
    assert {key: summary[key] for key in counts} == counts
    assert summary["state"] == "complete" and summary["known_signatures"] == 2 and "marker.ndb" in summary["signatures"]
    assert summary["skipped"] == {"excluded": 1, "link": 1, "symlink": 1, "special": 1, "unreadable": 1}
    assert summary["paths"] == [str(volume.path), str(missing)]
    assert events(report, "found") == paths_of(volume, "bad")
    assert events(report, "incomplete") == paths_of(volume, "large")
    assert sorted(skipped(report)) == sorted([str(volume / "left out"), str(missing)])
    assert skipped(report)[str(missing)]["error"] == "No such file or directory"
    assert [event["versions"] for event in report["events"] if event.get("type") == "signatures"]

    service.expect_found(volume / "bad")
    assert not [line for line in service.lines() if "/clean" in line or "OK" in line]

    status = service.status()["full_scan"]
    assert (status["state"], status["next"], status["schedule"]) == ("idle", 0, "off")
    assert status["last"]["files"] == 4 and status["last"]["infected"] == 1
    text = holdfast(service, "status").stdout
    assert "last one" in text and "4 files" in text

    (listed,) = read_report(service, "--list")
    assert read_report(service, listed["name"]) == read_report(service, "--last") == report
    text = holdfast(service, "report").stdout
    assert f"{volume / 'bad'}: " in text and "FOUND" in text and f"{volume / 'large'}: not verified" in text
    assert "/clean" not in text
    assert listed["name"] in holdfast(service, "report", "--list").stdout
    assert holdfast(service, "report", "nonsense").returncode == ERROR_EXIT


def test_there_is_no_report_before_the_first_scan(place, volume):
    service = start(place, volume.path)
    done = holdfast(service, "report")
    assert done.returncode == ERROR_EXIT and "no full scan has ended" in done.stderr
    assert read_report(service, "--list") == []
    assert "none finished yet" in holdfast(service, "status").stdout


def test_names_of_any_bytes_forge_nothing(place, volume):
    forged = volume / b"a\nTue -> /etc/passwd: Fake FOUND\xff"
    forged.parent.mkdir(parents=True)
    forged.write_bytes(EICAR)
    service = start(place, volume.path)
    report = run_full(service, code=INFECTED_EXIT)
    assert events(report, "found") == [f"{volume.path}/a\\x0aTue -> /etc/passwd: Fake FOUND\\xff"]
    service.expect(r"/a\\x0aTue -> /etc/passwd: Fake FOUND\\xff: \S+ FOUND$")
    assert not service.match(r"^Tue|-> /etc/passwd: \S+ FOUND$.*\n")
    assert not [line for line in holdfast(service, "report").stdout.splitlines() if line.startswith("Tue")]


def test_reports_are_for_root_and_the_control_group(place, volume):
    volume.write("x", CLEAN)
    service = start(place, volume.path)
    run_full(service)
    scans = service.directory / "state/scans"
    group = grp.getgrnam(USER).gr_gid
    for path in (scans, scans / "reports", *(scans / "reports").iterdir()):
        status = path.stat()
        expected = 0o2750 if path.is_dir() else 0o640
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, group, expected), path
    for name in ("checkpoint", "verdicts"):
        if (scans / name).exists():
            assert stat.S_IMODE((scans / name).stat().st_mode) == 0o600
    assert holdfast(service, "report", user=NOBODY).returncode == ERROR_EXIT
    member = holdfast(service, "--json", "report", user=NOBODY, extra_groups=[group])
    assert member.returncode == 0 and json.loads(member.stdout)["summary"]["files"] == 1


def test_the_number_of_reports_is_bounded(place, volume):
    volume.write("x", CLEAN)
    service = start(place, volume.path)
    run_full(service)
    reports = service.directory / "state/scans/reports"
    (first,) = reports.iterdir()
    for i in range(70):
        (reports / f"2020-01-01T00-00-{i:02}.json").write_bytes(first.read_bytes())
    run_full(service)
    names = sorted(path.name for path in reports.iterdir())
    assert len(names) == 60 and first.name in names and "2020-01-01T00-00-00.json" not in names


def test_only_root_orders_and_only_one_scan_runs(place, volume):
    fill(volume, 300)
    group = grp.getgrnam(USER).gr_gid
    service = start(place, volume.path, cpu="1%")
    done = holdfast(service, "scan", "--full", user=NOBODY)
    assert done.returncode == ERROR_EXIT and "only root" in done.stderr
    done = holdfast(service, "scan", "--full", user=NOBODY, extra_groups=[group])
    assert done.returncode == ERROR_EXIT and "only root" in done.stderr
    assert service.status()["full_scan"]["state"] == "idle"

    assert holdfast(service, "scan", "--full", "--stop").returncode == ERROR_EXIT
    assert holdfast(service, "scan", "--full").returncode == CLEAN_EXIT
    wait_scanned(service, 1)
    again = holdfast(service, "scan", "--full")
    assert again.returncode == ERROR_EXIT and "running already" in again.stderr
    status = service.status()["full_scan"]
    assert status["state"] == "running" and status["path"].startswith(str(volume.path))
    assert "running since" in holdfast(service, "status").stdout
    assert holdfast(service, "scan", "--full", "--stop").returncode == CLEAN_EXIT
    wait_until(lambda: service.status()["full_scan"]["state"] == "paused", "it is paused")


@pytest.mark.parametrize("mode", ["notify", "off"])
def test_scans_do_not_depend_on_the_protection_of_opens(place, volume, mode):
    bad = volume.write("bad", EICAR)
    service = place.start(include=volume.path, mode=mode, full_scan={"path": volume.path})
    assert events(run_full(service, code=INFECTED_EXIT), "found") == [str(bad)]
    assert f"{bad}: " in holdfast(service, "scan", volume.path).stdout


# --- what is scanned again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("volume", [*REMEMBERED, "tmpfs"], indirect=True)
def test_the_second_scan_scans_what_changed_and_nothing_else(place, volume):
    """Where times tell of each change; elsewhere everything is scanned."""
    names = ("same", "written", "refilled", "stored", "moved", "emptied")
    for name in names:
        volume.write(f"d/{name}", CLEAN + name.encode())
    volume.write("bad", EICAR)
    volume.write("large", bytes(2 << 20))
    remembers = volume.kind in REMEMBERED
    service = start(place, volume.path, engine={"max-file-size": "1M"})
    n = len(names)

    first = run_full(service, code=INFECTED_EXIT)["summary"]
    assert (first["files"], first["known"], first["scanned"]) == (n + 2, 0, n + 2)
    second = run_full(service, code=INFECTED_EXIT)["summary"]
    known = n if remembers else 0
    assert (second["files"], second["known"], second["scanned"]) == (n + 2, known, n + 2 - known), second
    assert (second["infected"], second["incomplete"]) == (1, 1), "they are looked at each time"

    (volume / "d/written").write_bytes(EICAR)
    refilled = volume / "d/refilled"
    before = refilled.stat()
    refilled.write_bytes(EICAR.ljust(before.st_size, b"\n")[: max(before.st_size, len(EICAR))])
    os.utime(refilled, ns=(before.st_atime_ns, before.st_mtime_ns))
    with open(volume / "d/stored", "r+b") as file:
        file.truncate(len(EICAR))
        with mmap.mmap(file.fileno(), 0) as memory:
            memory[:] = EICAR
    os.rename(volume / "d/moved", volume / "d/elsewhere")
    os.truncate(volume / "d/emptied", 0)
    third = run_full(service, code=INFECTED_EXIT)
    changed = ("d/refilled", "d/stored", "d/written")
    assert sorted(events(third, "found")) == paths_of(volume, "bad", *changed)
    # A rename changes the ctime on most filesystems: that it is scanned again does no harm.
    if remembers:
        assert third["summary"]["known"] in (1, 2)
    all_of_it = run_full(service, "--all", code=INFECTED_EXIT)["summary"]
    assert (all_of_it["known"], all_of_it["scanned"]) == (0, n + 1), "the empty one is not scanned"


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
def test_a_store_into_a_mapping_of_the_same_size_is_a_change(place, volume):
    """Through a mapping that was made before, and with the times set back."""
    path = volume.write("mapped", b"x" * 4096)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        service = start(place, volume.path, signatures=MARKER_SIGNATURE)
        assert run_full(service)["summary"]["scanned"] == 1
        before = path.stat()
        memory[: len(MARKER)] = MARKER
        memory.flush()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert events(run_full(service, code=INFECTED_EXIT), "found") == [str(path)]


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
def test_verdicts_serve_opens_and_scans_on_demand_and_the_other_way_round(place, volume):
    fill(volume, 10)
    other = volume.write("opened", CLEAN)
    time.sleep(SETTLE)
    service = start(place, volume / "many", include=volume.path)
    assert run_full(service)["summary"]["scanned"] == 10
    assert open_as(NOBODY, other).content == CLEAN
    # The marks of the kernel go with it, so that it is the guard who answers.
    service.reload()
    service.stop_workers()
    assert open_as(NOBODY, volume / "many/0/7").error is None
    assert open_as(NOBODY, other).content == CLEAN
    done = holdfast(service, "scan", volume.path)
    assert done.returncode == CLEAN_EXIT and "Verified before: 11" in done.stdout, done.stdout
    service.sections["full-scan"]["path"] = volume.path
    service.write_config()
    service.continue_workers()
    service.reload()
    summary = run_full(service)["summary"]
    assert (summary["files"], summary["known"]) == (11, 11)


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
def test_new_signatures_forget_everything_and_the_same_ones_nothing(place, volume):
    fill(volume, 5)
    volume.write("marked", MARKER)
    service = start(place, volume.path, signatures={"other.ndb": "Other.Test:0:*:6f746865722d6d61726b6572\n"})
    assert run_full(service)["summary"]["scanned"] == 6
    service.reload()
    assert run_full(service)["summary"]["known"] == 6
    service.write_signatures(MARKER_SIGNATURE)
    service.reload()
    report = run_full(service, code=INFECTED_EXIT)
    assert (report["summary"]["known"], report["summary"]["scanned"]) == (0, 6)
    assert events(report, "found") == [str(volume / "marked")]
    # And settings that verdicts depend on.
    service.sections["engine"]["max-file-size"] = "1M"
    service.write_config()
    service.reload()
    assert run_full(service, code=INFECTED_EXIT)["summary"]["known"] == 0


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
def test_what_was_unmounted_is_not_known(place, volume):
    fill(volume, 5)
    service = start(place, volume.path)
    assert run_full(service)["summary"]["scanned"] == 5
    assert run_full(service)["summary"]["known"] == 5
    unmount(volume.path)
    volume.mount()
    summary = run_full(service)["summary"]
    assert (summary["known"], summary["scanned"]) == (0, 5)


WITHOUT_IDS = {"HOLDFAST_WITHOUT": "unique-mount-ids"}


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
@pytest.mark.parametrize("environment", [None, WITHOUT_IDS], ids=["", "without unique mount ids"])
def test_what_is_known_after_a_restart(place, volume, environment):
    """By an id that is never given again; on older kernels nothing, as it may be another filesystem."""
    fill(volume, 5)
    service = start(place, volume.path, environment=environment)
    assert run_full(service)["summary"]["scanned"] == 5
    assert run_full(service)["summary"]["known"] == 5
    if environment:
        unmount(volume.path)
        volume.mount()
        wait_until(lambda: run_full(service)["summary"]["scanned"] == 5, "the mount is another one")
    service.stop()
    service.start()
    done = holdfast(service, "scan", volume.path)
    unique = not environment and "unique-mount-ids" not in os.environ.get("HOLDFAST_WITHOUT", "")
    assert f"Verified before: {5 if unique else 0}" in done.stdout
    assert run_full(service)["summary"]["known"] == 5, "the scan on demand has seen to that"


def test_who_else_writes_to_the_verdicts_is_not_believed(place):
    """A file of verdicts that is not root's alone could call anything clean."""
    volume = place.volume("ext4")
    fill(volume, 5)
    service = start(place, volume.path)
    assert run_full(service)["summary"]["scanned"] == 5
    service.stop()
    verdicts = service.directory / "state/scans/verdicts"
    if not verdicts.exists():
        pytest.skip("without unique mount ids there are none")
    verdicts.chmod(0o666)
    service.start()
    service.expect(r"not known after a restart: .*open to others")
    assert run_full(service)["summary"]["known"] == 0


# --- going on --------------------------------------------------------------------------------------------------

MANY = 4000  # so that there is a middle on fast machines too


def begin_and_stand_still(service, n):
    """A full scan that is in the middle, and stays there."""
    assert holdfast(service, "scan", "--full").returncode == 0
    wait_scanned(service, n)
    service.stop_workers()
    # What has its verdict has been written down.
    wait_until(lambda: now_of(service)["scanned"] == clean_and_infected(service), "all verdicts are counted")
    now = now_of(service)
    assert n <= now["scanned"] < MANY, "it is in the middle"
    return now


def clean_and_infected(service):
    verdicts = service.status()["counters"]["scans"]
    return verdicts["clean"] + verdicts["infected"]


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
@pytest.mark.parametrize("how", ["the guard is killed", "the service is stopped"])
def test_it_goes_on_by_itself_and_scans_no_verified_file_twice(place, volume, how):
    fill(volume, MANY)
    for where in ("many/0/eicar", f"many/{MANY // 100 - 1}/eicar"):
        volume.write(where, EICAR)
    time.sleep(OLDER)
    service = start(place, volume.path, cpu="10%")
    begin_and_stand_still(service, 100)
    before = service.status()["counters"]["scans"]["clean"]
    after = service.position()
    if how == "the guard is killed":
        service.lose_guard()
        service.continue_workers()
        before = 0  # the counters go on
    else:
        service.disturbed = True
        assert service.stop() == 0
        service.start()
    service.expect("full scan: goes on", after)
    report = wait_finished(service, after)
    summary = report["summary"]
    assert (summary["files"], summary["known"] + summary["scanned"]) == (MANY + 2, MANY + 2)
    assert summary["sessions"] == 2 and summary["state"] == "complete"
    assert sorted(events(report, "found")) == paths_of(volume, "many/0/eicar", f"many/{MANY // 100 - 1}/eicar")
    assert summary["infected"] == 2
    assert summary["directories"] == MANY // 100 + 2 + ("lost+found" in os.listdir(volume.path))
    assert before + clean_verdicts(service) == MANY, "each clean file was scanned once"


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
def test_after_a_restart_with_other_signatures_everything_is_scanned(place, volume):
    fill(volume, 400)
    service = start(place, volume.path, cpu="1%", signatures={})
    assert holdfast(service, "scan", "--full").returncode == 0
    wait_scanned(service, 20)
    assert service.stop() == 0
    service.write_signatures(MARKER_SIGNATURE)
    service.sections["full-scan"]["cpu"] = "100%"
    service.write_config()
    volume.write("many/0/marked", MARKER)
    after = service.position()
    service.start()
    wait_finished(service, after)
    report = run_full(service, code=INFECTED_EXIT)
    assert events(report, "found") == [str(volume / "many/0/marked")]
    assert clean_verdicts(service) >= 400 - 20


def test_a_pause_is_gone_on_from_at_its_place(place, volume):
    """On a filesystem of which nothing is remembered: what was done before is not even looked at."""
    fill(volume, MANY)
    volume.write("many/0/eicar", EICAR)
    time.sleep(OLDER)
    service = start(place, volume.path, cpu="1%")
    assert holdfast(service, "scan", "--full").returncode == 0
    wait_scanned(service, 100)
    assert holdfast(service, "scan", "--full", "--stop").returncode == 0
    wait_until(lambda: service.status()["full_scan"]["state"] == "paused", "it is paused")
    now = now_of(service)
    assert 100 <= now["scanned"] < MANY, "it is in the middle"
    assert "paused, goes on never" in holdfast(service, "status").stdout
    # Whoever stops it means it: neither a reload nor a restart goes on.
    service.sections["full-scan"]["cpu"] = "100%"
    service.write_config()
    service.reload()
    service.stop()
    service.start()
    status = service.status()["full_scan"]
    assert (status["state"], status["now"]["scanned"]) == ("paused", now["scanned"])
    report = run_full(service, code=INFECTED_EXIT)
    summary = report["summary"]
    assert (summary["files"], summary["scanned"], summary["known"]) == (MANY + 1, MANY + 1, 0)
    assert (summary["sessions"], summary["infected"]) == (2, 1)
    assert events(report, "found") == paths_of(volume, "many/0/eicar")
    assert clean_and_infected(service) == MANY + 1 - now["scanned"]


def test_all_begins_anew_and_so_does_another_configuration(place, volume):
    fill(volume, MANY)
    time.sleep(OLDER)
    service = start(place, volume.path, cpu="1%")
    for words, exclude in ((["--all"], None), ([], volume / "many/1")):
        assert holdfast(service, "scan", "--full").returncode == 0
        wait_scanned(service, 50)
        assert holdfast(service, "scan", "--full", "--stop").returncode == 0
        wait_until(lambda: service.status()["full_scan"]["state"] == "paused", "it is paused")
        if exclude:
            service.sections["full-scan"]["exclude"] = exclude
        service.sections["full-scan"]["cpu"] = "100%"
        service.write_config()
        service.reload()
        summary = run_full(service, *words)["summary"]
        service.sections["full-scan"]["cpu"] = "1%"
        service.write_config()
        service.reload()
        assert (summary["sessions"], summary["files"]) == (1, MANY - 100 * bool(exclude))
    service.expect("what is to be scanned has changed: beginning anew")


# --- a tree that does not stand still --------------------------------------------------------------------------

CHURN = """
import os, random, sys, time
root, seed = sys.argv[1], int(sys.argv[2])
random.seed(seed)
print("ready", flush=True)
n = 0
while True:
    n += 1
    directory = f"{root}/{random.randrange(8)}"
    path = f"{directory}/churn-{seed}-{random.randrange(40)}"
    try:
        what = random.randrange(8)
        if what == 0:
            os.unlink(path)
        elif what == 1:
            os.truncate(path, random.randrange(4096))
        elif what == 2:
            os.rename(path, f"{root}/{random.randrange(8)}/churn-{seed}-{random.randrange(40)}")
        elif what == 3:
            os.rename(f"{root}/moving-{seed}-{random.randrange(2)}", f"{root}/moving-{seed}-{random.randrange(2)}")
        elif what == 4:
            os.mkdir(f"{root}/moving-{seed}-{random.randrange(2)}")
        elif what == 5:
            os.symlink(f"{root}/../outside", f"{root}/moving-{seed}-{random.randrange(2)}")
        elif what == 6:
            os.unlink(f"{root}/moving-{seed}-{random.randrange(2)}")
        else:
            with open(path, "ab") as file:
                file.write(os.urandom(random.randrange(8192)))
    except OSError:
        pass
"""


@contextlib.contextmanager
def churning(root, n=2):
    """Others rename, truncate, remove and grow files beside those that stay, and put links in their place."""
    writers = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", CHURN, root, str(seed)], stdout=subprocess.PIPE)
        for seed in range(n)
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        yield
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
def test_a_tree_that_others_change_is_scanned_to_its_end(place, volume):
    stay = {}
    for i in range(400):
        name = f"tree/{i % 8}/stay-{i}"
        stay[str(volume.write(name, EICAR if i % 50 == 0 else b"%d" % i + CLEAN))] = i % 50 == 0
    bad = sorted(path for path, infected in stay.items() if infected)
    volume.write("outside/eicar", EICAR)
    time.sleep(SETTLE)
    service = start(place, volume / "tree")
    with churning(volume / "tree"):
        for _ in range(2):
            done = holdfast(service, "scan", "--full", "--wait", "--all")
            assert done.returncode == INFECTED_EXIT, done.stdout + done.stderr
            report = read_report(service)
            summary = report["summary"]
            assert sorted(events(report, "found")) == bad and summary["infected"] == len(bad)
            assert summary["state"] == "complete" and summary["files"] >= len(stay)
            assert summary["unreadable"] == 0, skipped(report)
            assert summary["known"] + summary["scanned"] + empty(report) == summary["files"]
            problems = events(report, "failed") + events(report, "incomplete")
            assert len(problems) == summary["failed"] + summary["incomplete"]
            assert all("/churn-" in path for path in problems), problems

            done = holdfast(service, "--json", "scan", "--all", "--verbose", volume / "tree")
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            kinds = {kind: sorted(line["path"] for line in lines if line["type"] == kind)
                     for kind in ("clean", "found", "error", "failed", "incomplete")}
            assert kinds["found"] == bad
            assert [path for path in kinds["clean"] if "/stay-" in path] == sorted(set(stay) - set(bad))
            assert all("/churn-" in p for k in ("error", "failed", "incomplete") for p in kinds[k]), kinds
            assert lines[-1]["files"] >= len(stay) and lines[-1]["infected"] == len(bad)
    # What stayed was verified, and counts from then on.
    done = holdfast(service, "--json", "scan", "--verbose", volume / "tree")
    known = [line["path"] for line in map(json.loads, done.stdout.splitlines()) if line.get("known") is True]
    assert sorted(path for path in known if "/stay-" in path) == sorted(set(stay) - set(bad))


def empty(report):
    """Empty files are not scanned: those that were made so meanwhile are what is left."""
    summary = report["summary"]
    return summary["files"] - summary["known"] - summary["scanned"]


# --- when ------------------------------------------------------------------------------------------------------

LAST_SLOT = 16  # where it is in the checkpoint: behind the magic and a size


def scan_long_ago(service):
    """Has the last slot been two days ago. Only while the service is stopped."""
    with open(service.directory / "state/scans/checkpoint", "r+b") as file:
        file.seek(LAST_SLOT)
        (slot,) = struct.unpack("=q", file.read(8))
        assert abs(slot - time.time()) < 3600, "that is where it is"
        file.seek(LAST_SLOT)
        file.write(struct.pack("=q", slot - 2 * 86400))


def clock(moment):
    return datetime.datetime.fromtimestamp(moment).strftime("%H:%M")


def restart(service, **full_scan):
    """Two days later, with this schedule."""
    service.stop()
    scan_long_ago(service)
    service.sections["full-scan"].update({key.replace("_", "-"): value for key, value in full_scan.items()})
    service.write_config()
    after = service.position()
    service.start()
    return after


def full_scan_status(service):
    return service.status()["full_scan"]


def test_a_missed_scan_is_made_up_for_after_the_start(place, volume):
    fill(volume, 3)
    service = start(place, volume.path)
    after = restart(service, schedule=f"daily {clock(time.time() - 120)}")
    service.expect("full scan: begins", after)
    assert wait_finished(service, after)["summary"]["files"] == 3
    status = wait_until(lambda: (s := full_scan_status(service))["next"] and s, "the next one is known")
    assert 86400 - 400 < status["next"] - time.time() < 86400, "it is one, and the next is tomorrow's"
    # It is made up for once.
    after = service.position()
    service.stop()
    service.start()
    wait_until(lambda: full_scan_status(service)["next"], "it has decided")
    assert not service.match("full scan: ", after)


def test_a_new_machine_is_not_scanned_at_once(place, volume):
    fill(volume, 3)
    service = start(place, volume.path, schedule=f"daily {clock(time.time() - 120)}")
    status = wait_until(lambda: (s := full_scan_status(service))["next"] and s, "it has decided")
    assert status["state"] == "idle" and not service.match("full scan: begins")


def test_nothing_begins_after_finish_by(place, volume):
    fill(volume, 3)
    service = start(place, volume.path)
    now = time.time()
    after = restart(service, schedule=f"daily {clock(now - 7200)}", finish_by=clock(now - 3600))
    status = wait_until(lambda: (s := full_scan_status(service))["next"] and s, "it has decided")
    assert status["state"] == "idle" and not service.match("full scan: begins", after)
    assert 86400 - 7400 < status["next"] - now < 86400


def test_random_delay_is_within_its_bounds(place, volume):
    fill(volume, 3)
    service = start(place, volume.path)
    after = restart(service, schedule=f"daily {clock(time.time() - 120)}", random_delay="1d")
    status = wait_until(lambda: (s := full_scan_status(service))["next"] and s, "it has decided")
    assert status["state"] == "idle" and not service.match("full scan: begins", after)
    assert time.time() - 60 < status["next"] < time.time() + 86460


@pytest.mark.deadline(120)
def test_it_begins_at_its_minute_and_pauses_at_finish_by(place, volume):
    """One service whose minute comes, and one whose time is over then."""
    fill(volume, 8000, size=20000)
    small = place.volume()
    small.write("x", CLEAN)
    if time.time() % 60 > 50:
        time.sleep(61 - time.time() % 60)
    minute = time.time() // 60 * 60 + 60
    beginning = start(place, small.path, schedule=f"daily {clock(minute)}")
    pausing = start(place, volume.path, cpu="1%")
    after = restart(pausing, schedule=f"daily {clock(minute - 120)}", finish_by=clock(minute))
    wait_scanned(pausing, 1)
    assert full_scan_status(pausing)["pause_at"] == minute
    assert full_scan_status(beginning)["next"] == minute
    assert not beginning.match("full scan: ")

    beginning.expect("full scan: begins", timeout=minute + PATIENCE - time.time())
    assert time.time() >= minute
    assert wait_finished(beginning)["summary"]["files"] == 1
    pausing.expect("full scan: paused", after)
    status = full_scan_status(pausing)
    assert status["state"] == "paused" and 0 < status["now"]["files"] < 8000
    assert minute + 86400 - 400 < status["next"] < minute + 86400, "it goes on in the next night"


# --- what goes wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["not root's", "not writable"])
def test_a_state_directory_of_no_use_is_said_and_the_rest_works(place, volume, infected, clean, how):
    service = place.service(include=volume / "home", full_scan={"path": volume.path})
    scans = service.directory / "state/scans"
    scans.mkdir()
    (scans / "reports").mkdir()
    if how == "not root's":
        shutil.chown(scans, USER, USER)
    else:
        run("mount", "--bind", scans, scans)
        run("mount", "-o", "remount,bind,ro", scans)
        place.keeper.tell("mount", scans)
    try:
        service.start()
        assert open_as(NOBODY, infected).error == "EPERM"
        assert open_as(NOBODY, clean).content == CLEAN
        if how == "not root's":
            service.expect(r"no full scans, .*must belong to root")
        done = holdfast(service, "scan", "--full", "--wait")
        assert done.returncode == ERROR_EXIT, done.stdout
        assert ("must belong to root" if how == "not root's" else "cannot begin: Read-only") in done.stderr
        status = service.status()
        assert [warning for warning in status["warnings"] if "full scan" in warning]
        assert status["full_scan"]["state"] == "idle"
        assert holdfast(service, "status").returncode == 1
        assert "FOUND" in holdfast(service, "scan", volume.path).stdout
        service.stop()
    finally:
        if how == "not writable":
            unmount(scans)
            place.keeper.tell("forget", scans)


def test_a_report_that_cannot_be_written_is_said(place, volume):
    """What was found is in the log; but whoever wants the report must not take an older one for it."""
    volume.write("x", EICAR)
    service = place.service(include=place.volume().path, full_scan={"path": volume.path})
    scans = service.directory / "state/scans"
    with mounted(place, scans, "-t", "tmpfs", "-o", "size=64k,mode=750", "tmpfs"):
        service.start()
        run_full(service, code=INFECTED_EXIT)
        with contextlib.suppress(OSError):
            with open(scans / "all there is room for", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        done = holdfast(service, "scan", "--full", "--wait")
        assert done.returncode == ERROR_EXIT and "No space left" in done.stderr, done
        service.expect("No space left")
        assert [warning for warning in service.status()["warnings"] if "No space left" in warning]
        (scans / "all there is room for").unlink()
        run_full(service, code=INFECTED_EXIT)
        assert not [warning for warning in service.status()["warnings"] if "full scan" in warning]
        assert len(read_report(service, "--list")) == 2
        service.stop()


def test_scans_that_begin_within_a_second_keep_their_order(place, volume):
    volume.write("0", CLEAN)
    service = start(place, volume.path)
    for n in range(1, 6):
        done = holdfast(service, "scan", "--full", "--wait")
        assert done.returncode == CLEAN_EXIT
        assert read_report(service)["summary"]["files"] == n
        volume.write(str(n), b"%d" % n)
    assert [summary["files"] for summary in read_report(service, "--list")] == [1, 2, 3, 4, 5]


def test_a_damaged_checkpoint_is_said_and_done_without(place, volume):
    fill(volume, 3)
    service = start(place, volume.path)
    run_full(service)
    service.stop()
    (service.directory / "state/scans/checkpoint").write_bytes(b"not what it was")
    service.start()
    service.expect("what was noted of the last one cannot be read")
    assert run_full(service)["summary"]["files"] == 3


def test_an_open_does_not_wait_for_a_full_scan(place, volume, infected, clean):
    """One worker is kept for opens: the others stand still with what the scan gave them."""
    fill(volume, 20)
    service = start(place, volume / "many", include=volume / "home", engine={"workers": 2})
    workers = service.stop_workers()
    assert holdfast(service, "scan", "--full").returncode == 0
    busy = service.holder()
    service.continue_workers(*(worker for worker in workers if worker != busy))
    assert open_as(NOBODY, clean).content == CLEAN
    assert open_as(NOBODY, infected).error == "EPERM"
    assert full_scan_status(service)["now"]["scanned"] == 0, "the scan waits"
    service.continue_workers()
    assert wait_finished(service)["summary"]["files"] == 20
