# SPDX-License-Identifier: GPL-2.0-only
"""Who is waited for comes first: for a worker, for the processor, and for disks."""
import os

import pytest
from harness import (
    CLEAN,
    NOBODY,
    create,
    holdfast,
    open_as,
    open_held,
    run,
    start_holdfast,
    finish_holdfast,
    wait_until,
)

# All capabilities that the service uses, but one.
WITHOUT_NICE = ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", "--"]


def read_priority(pid):
    return os.sched_getscheduler(pid) == os.SCHED_IDLE, run("ionice", "--pid", pid).strip() == "idle"


def is_idle(pid):
    """Whether a process gets the processor, and disks, when nobody else wants them: both or neither, but for a moment."""
    cpu, _ = wait_until(lambda: (seen := read_priority(pid)) in ((True, True), (False, False)) and seen, "both or neither")
    return cpu


def start(place, volume, workers=2, **options):
    (volume / "home").mkdir(exist_ok=True)
    return place.start(include=volume / "home", engine={"workers": workers}, **options)


def fill(volume, n):
    for i in range(n):
        volume.write(f"files/{i}", b"%d" % i + CLEAN)
    return volume / "files"


def begin_full_scan(service, n):
    """With workers that stand still. Returns those that have a file, once there are n."""
    assert holdfast(service, "scan", "--full").returncode == 0
    return service.holders(n)


def test_a_full_scan_leaves_workers_to_opens(place, volume):
    files = fill(volume, 20)
    opened = [volume.write(f"home/{i}", b"%d" % i + CLEAN) for i in range(2)]
    service = start(place, volume, workers=4, full_scan={"path": files, "cross-filesystems": False})
    workers = service.stop_workers(4)
    busy = begin_full_scan(service, 2)
    openers = [open_held(place, path) for path in opened]
    # Those of the scan still hang.
    service.continue_workers(*set(workers) - set(busy))
    assert [opener.opened().content for opener in openers] == [b"%d" % i + CLEAN for i in range(2)]
    assert service.holders(2) == busy
    service.continue_workers()
    service.expect(r"full scan: finished")


def test_scans_that_nobody_waits_for_have_low_priority(place, volume):
    files = fill(volume, 3)
    service = start(place, volume, full_scan={"path": files, "cross-filesystems": False})
    assert not any(map(is_idle, service.stop_workers()))
    (busy,) = begin_full_scan(service, 1)
    assert [pid for pid in service.workers() if is_idle(pid)] == [busy]
    service.continue_workers()
    service.expect(r"full scan: finished")


def test_scans_that_somebody_waits_for_have_not(place, volume):
    files = fill(volume, 3)
    opened = volume.write("home/file", CLEAN)
    service = start(place, volume)
    service.stop_workers()
    scan = start_holdfast(service, "scan", files)
    service.holder()
    opener = open_held(place, opened)
    service.holders(2)
    assert not any(map(is_idle, service.workers()))
    service.continue_workers()
    assert opener.opened().content == CLEAN
    assert finish_holdfast(scan).returncode == 0


@pytest.mark.parametrize("how", ["open", "scan"])
def test_it_is_raised_while_the_scan_is_under_way(place, volume, how):
    service = start(place, volume)
    service.stop_workers()
    path = volume / "home/new"
    create(path, CLEAN)
    busy = service.holder()
    wait_until(lambda: is_idle(busy), "what was written is scanned at low priority")
    if how == "open":
        waiting = open_held(place, path)
    else:
        # Opening it would be enough: somebody who has it open asks.
        waiting = start_holdfast(service, "scan", path, before=())
    wait_until(lambda: not is_idle(busy), "somebody waits for it now")
    service.continue_workers()
    if how == "open":
        assert waiting.opened().content == CLEAN
    else:
        assert finish_holdfast(waiting).returncode == 0


def test_the_next_guard_knows_which_workers_have_low_priority(place, volume):
    service = start(place, volume)
    service.standbys()
    service.stop_workers()
    path = volume / "home/new"
    create(path, CLEAN)
    busy = service.holder()
    wait_until(lambda: is_idle(busy), "what was written is scanned at low priority")
    service.lose_guard()
    assert is_idle(busy)
    opener = open_held(place, path)
    wait_until(lambda: not is_idle(busy), "somebody waits for it now")
    service.continue_workers()
    assert opener.opened().content == CLEAN


def test_without_the_capability_all_have_the_same_priority(place, volume):
    service = start(place, volume, command=WITHOUT_NICE)
    service.stop_workers()
    for i in range(2):
        create(volume / f"home/new{i}", b"%d" % i + CLEAN)
    service.holder()
    service.expect("what nobody waits for is scanned at normal priority: CAP_SYS_NICE is withheld")
    assert not any(map(is_idle, service.workers()))
    service.continue_workers()
    wait_until(lambda: service.status()["scan_ahead"]["scanned"] == 2, "it is scanned all the same")
    assert open_as(NOBODY, volume / "home/new1").content == b"1" + CLEAN
    assert sum("CAP_SYS_NICE" in line for line in service.lines()) == 1
