# SPDX-License-Identifier: GPL-2.0-only
"""
The warm start: files that were opened before are verified again under other signatures, before anybody opens them.
"""
import os
import shutil
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
    mounted,
    open_all_as,
    open_as,
    run,
    take_steps,
    wait_until,
    writing,
)

# Signatures that find nothing here, each set another.
OTHER = [{"other.ndb": f"Other.{n}:0:*:{f'nowhere-to-be-found-{n}'.encode().hex()}\n"} for n in range(3)]

# What is remembered of a file, so that an open needs no scan even where the kernel has forgotten.
REMEMBERED = ("ext4", "xfs", "btrfs")

ENDED = (
    r"-> warm start: (?P<verified>\d+) files verified again in \d+ s, (?P<known>\d+) were known, (?P<gone>\d+) gone, "
    r"(?P<unclean>\d+) not clean$"
)


@pytest.fixture
def volume(place, request):
    return place.volume(getattr(request, "param", "ext4"))


def write(volume, n, content=b""):
    """Files that differ."""
    return [volume.write(f"home/{i}", b"%d\n" % i + CLEAN + content) for i in range(n)]


def start(place, volume, signatures=OTHER[0], **options):
    """Nothing is verified but what is opened, and what was."""
    return place.start(include=volume / "home", signatures=signatures, scan_ahead=False, **options)


def use(paths, user=NOBODY):
    for path in paths:
        assert open_as(user, path).error is None


def switch(service, signatures):
    """Returns where the log was."""
    after = service.position()
    for path in service.signatures.iterdir():
        path.unlink()
    service.write_signatures(signatures)
    service.reload()
    return after


def wait_warm(service, after=0):
    """The numbers of a run, once it has ended."""
    match = service.expect(ENDED, after)
    wait_until(lambda: warm_status(service)["state"] == "idle", "it says so")
    return {name: int(number) for name, number in match.groupdict().items()}


def warm_status(service):
    return service.status()["warm_start"]


def scans(service):
    """Scans that openers waited for."""
    return sum(service.status()["counters"]["verdicts"].values())


# --- what it is for --------------------------------------------------------------------------------------------


@pytest.mark.all_filesystems
def test_files_used_before_are_verified_under_new_signatures_before_they_are_opened(place, volume):
    if volume.kind == "overlay":
        pytest.skip("nothing is remembered of files on an overlay")
    paths = write(volume, 10)
    service = start(place, volume)
    use(paths)
    assert warm_status(service)["files"] == 10
    after = switch(service, OTHER[1])
    numbers = wait_warm(service, after)
    assert numbers == {"verified": 10, "known": 0, "gone": 0, "unclean": 0}
    before = scans(service), service.status()["counters"]["opens"]
    use(paths)
    assert scans(service) == before[0], "nobody waits for a scan"
    assert service.status()["counters"]["opens"] == before[1], "and the kernel does not even ask"
    status = warm_status(service)
    assert (status["of"], status["done"], status["verified"], status["files"]) == (10, 10, 10, 10)
    assert 0 < status["began"] <= status["ended"] <= time.time()


def test_malware_that_new_signatures_know_is_reported_before_anybody_opens_it(place, volume):
    clean, infected = write(volume, 1)[0], volume.write("home/infected", MARKER)
    service = start(place, volume)
    use([clean, infected])
    after = switch(service, MARKER_SIGNATURE)
    assert wait_warm(service, after) == {"verified": 1, "known": 0, "gone": 0, "unclean": 1}
    assert service.found(after) == [(str(infected), "Marker.Test.UNOFFICIAL")]
    assert warm_status(service)["infected"] == 1
    assert open_as(NOBODY, infected).error == "EPERM"
    assert open_as(NOBODY, clean).error is None
    # It is told of once, not with each update that comes.
    after = switch(service, {**MARKER_SIGNATURE, **OTHER[1]})
    assert wait_warm(service, after)["verified"] == 1
    assert not service.found(after)


def test_the_most_recently_used_come_first(place, volume):
    paths = write(volume, 12, MARKER)
    order = [paths[i] for i in (3, 11, 0, 7, 5, 2, 10, 1, 9, 4, 8, 6)]
    service = start(place, volume, engine={"workers": 1})
    use(order)
    after = switch(service, MARKER_SIGNATURE)
    wait_warm(service, after)
    assert [path for path, _ in service.found(after)] == [str(path) for path in reversed(order)]


def test_only_what_was_opened_and_is_clean_is_known(place, volume, infected):
    used, unused, empty = write(volume, 2) + [volume.write("home/empty", b"")]
    outside = volume.write("elsewhere", CLEAN)
    service = start(place, volume)
    use([used, empty, outside])
    assert open_as(NOBODY, infected).error == "EPERM"
    assert warm_status(service)["files"] == 1
    assert wait_warm(service, switch(service, OTHER[1]))["verified"] == 1


def test_a_file_that_was_replaced_is_found_by_its_name(place, volume):
    path = write(volume, 1)[0]
    service = start(place, volume)
    use([path])
    take_steps("root", *writing(volume / "home/new", CLEAN * 2, "O_CREAT"), ("rename", volume / "home/new", path))
    assert wait_warm(service, switch(service, OTHER[1]))["verified"] == 1
    before = scans(service)
    use([path])
    assert scans(service) == before


# --- what it passes over ---------------------------------------------------------------------------------------


def test_files_that_have_gone_are_forgotten(place, volume):
    paths = write(volume, 6)
    service = start(place, volume)
    use(paths)
    for path in paths[:2]:
        path.unlink()
    paths[2].unlink()
    paths[2].symlink_to("/etc/passwd")
    paths[3].unlink()
    paths[3].mkdir()
    assert wait_warm(service, switch(service, OTHER[1])) == {"verified": 2, "known": 0, "gone": 4, "unclean": 0}
    assert warm_status(service)["files"] == 2


def test_a_filesystem_that_is_not_mounted_now_is_remembered(place, volume):
    other = place.volume("ext4")
    (other / "deep/er").mkdir(parents=True)
    (other / "deep/er/file").write_bytes(CLEAN)
    path = other / "deep/er/file"
    service = place.start(include=[volume / "home", other.path], signatures=OTHER[0], scan_ahead=False)
    use([path])
    wait_until(lambda: run_ok("umount", other.path), "it can be unmounted")
    assert wait_warm(service, switch(service, OTHER[1])) == {"verified": 0, "known": 0, "gone": 0, "unclean": 0}
    assert warm_status(service)["passed_over"] == 1
    other.mount()
    assert wait_warm(service, switch(service, OTHER[2]))["verified"] == 1


def run_ok(*argv):
    try:
        run(*argv)
    except AssertionError:
        return False
    return True


def test_what_is_mounted_over_a_file_is_not_looked_at(place, volume):
    path = volume.write("home/sub/file", CLEAN)
    service = start(place, volume)
    use([path])
    with mounted(place, volume / "home/sub", "-t", "tmpfs", "tmpfs"):
        # The directory is there, and has no such file: as far as anybody can tell it has gone.
        assert wait_warm(service, switch(service, OTHER[1]))["gone"] == 1


def test_an_include_path_that_has_changed_counts(place, volume):
    inside, outside = volume.write("home/in/file", CLEAN), volume.write("home/out/file", b"2" + CLEAN)
    service = start(place, volume)
    use([inside, outside])
    service.sections["on-access"]["include"] = volume / "home/in"
    service.write_config()
    assert wait_warm(service, switch(service, OTHER[1]))["verified"] == 1
    assert warm_status(service)["passed_over"] == 1


def test_nothing_new_costs_no_scan(place, volume):
    paths = write(volume, 5)
    service = start(place, volume)
    use(paths)
    time.sleep(0.1)
    after = service.position()
    service.reload()
    assert wait_warm(service, after) == {"verified": 0, "known": 5, "gone": 0, "unclean": 0}


# --- switched off ----------------------------------------------------------------------------------------------


def test_it_can_be_switched_off(place, volume):
    paths = write(volume, 3)
    service = start(place, volume, warm_start=False)
    use(paths)
    assert warm_status(service) | {"files": 0, "state": "off"} == warm_status(service)
    after = switch(service, OTHER[1])
    before = scans(service)
    use(paths)
    assert scans(service) == before + 3, "they are scanned when they are opened"
    service.stop()
    assert not service.match("warm start", after)
    assert not (service.directory / "state/scans/used").exists()


def test_who_switches_it_off_leaves_no_list(place, volume):
    paths = write(volume, 3)
    service = start(place, volume)
    use(paths)
    service.stop()
    used = service.directory / "state/scans/used"
    assert str(paths[0]).encode() in used.read_bytes()
    service.sections["on-access"]["warm-start"] = False
    service.write_config()
    service.start()
    wait_until(lambda: not used.exists(), "the list is removed")
    service.sections["on-access"]["warm-start"] = True
    service.write_config()
    service.reload()
    assert warm_status(service)["files"] == 0


# --- restarts --------------------------------------------------------------------------------------------------


def test_it_knows_what_was_used_before_a_restart(place, volume):
    paths = write(volume, 8)
    service = start(place, volume)
    use(paths)
    assert service.stop() == 0
    used = service.directory / "state/scans/used"
    assert used.stat().st_mode & 0o777 == 0o600 and used.stat().st_uid == 0
    service.write_signatures(OTHER[1])
    after = service.position()
    service.start()
    assert wait_warm(service, after)["verified"] == 8
    before = scans(service)
    use(paths)
    assert scans(service) == before


def test_files_of_others_are_verified_again_after_any_restart(place, volume):
    path = write(volume, 1)[0]
    shutil.chown(path, NOBODY)
    service = start(place, volume)
    use([path])
    service.stop()
    after = service.position()
    service.start()
    assert wait_warm(service, after)["verified"] == 1


DAMAGE = {
    "cut": lambda content: content[:-1],
    "empty": lambda content: b"",
    "another format": lambda content: content[:4] + b"\xff" + content[5:],
    "a byte": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_list_is_begun_anew(place, volume, how):
    paths = write(volume, 2)
    service = start(place, volume)
    use(paths)
    service.stop()
    used = service.directory / "state/scans/used"
    used.write_bytes(DAMAGE[how](used.read_bytes()))
    after = service.position()
    service.start()
    service.expect(r"warm start: scans/used in state-dir: it is damaged", after)
    assert warm_status(service)["files"] == 0
    switch(service, OTHER[1])
    use(paths[:1])
    service.stop()
    after = service.position()
    service.start()
    assert wait_warm(service, after)["known"] == 1


@pytest.mark.parametrize("how", ["owner", "mode", "link"])
def test_a_list_that_is_not_roots_alone_is_left_alone(place, volume, how):
    paths = write(volume, 2)
    service = start(place, volume)
    use(paths)
    service.stop()
    used = service.directory / "state/scans/used"
    if how == "owner":
        shutil.chown(used, USER)
    elif how == "mode":
        used.chmod(0o640)
    else:
        used.rename(used.parent / "kept")
        used.symlink_to("kept")
    before = os.lstat(used)
    after = service.position()
    service.start()
    service.expect(r"warm start: scans/used in state-dir: it does not belong to root alone", after)
    assert warm_status(service)["files"] == 0
    use(paths)
    # What was verified before the restart is known, and it is an open all the same.
    wait_until(lambda: warm_status(service)["files"] == 2, "files are noted")
    assert wait_warm(service, switch(service, OTHER[1]))["verified"] == 2
    service.stop()
    left = os.lstat(used)
    assert (left.st_ino, left.st_mode, left.st_uid) == (before.st_ino, before.st_mode, before.st_uid)


# --- in the middle of it ---------------------------------------------------------------------------------------


def begin_and_stand_still(place, volume, **options):
    """A service whose warm start waits for workers that stand still, and the files."""
    paths = write(volume, 20)
    service = start(place, volume, **options)
    use(paths)
    after = switch(service, OTHER[1])
    service.stop_workers()
    wait_until(lambda: service.status()["workers"]["busy"] > 0, "a worker has been asked")
    assert warm_status(service)["state"] == "running"
    return service, paths, after


def test_reload_in_the_middle_of_it(place, volume):
    service, paths, after = begin_and_stand_still(place, volume)
    again = switch(service, OTHER[2])
    service.continue_workers()
    service.expect(r"warm start: begins", again)
    numbers = wait_warm(service, again)
    # Files that were on their way are scanned under the signatures that count by now.
    assert numbers["verified"] + numbers["known"] == 20
    assert len([line for line in service.lines()[after:] if "verified again in" in line]) == 1
    before = scans(service)
    use(paths)
    assert scans(service) == before


def test_takeover_of_the_guard_in_the_middle_of_it(place, volume):
    service, paths, after = begin_and_stand_still(place, volume)
    service.standbys()
    middle = service.position()
    service.lose_guard()
    service.continue_workers()
    numbers = wait_warm(service, middle)
    assert numbers["verified"] + numbers["known"] == 20
    before = scans(service)
    use(paths)
    assert scans(service) == before
    assert warm_status(service)["files"] == 20


def test_an_open_does_not_wait_behind_it(place, volume):
    service, paths, after = begin_and_stand_still(place, volume)
    new = volume / "home/new"
    service.continue_idle_workers()
    take_steps("root", *writing(new, CLEAN + b"new", "O_CREAT"))
    assert open_as(NOBODY, new).error is None
    assert warm_status(service)["state"] == "running"
    service.continue_workers()
    assert wait_warm(service, after)["verified"] == 20


def test_it_is_switched_off_in_the_middle_of_it(place, volume):
    service, paths, after = begin_and_stand_still(place, volume)
    service.sections["on-access"]["warm-start"] = False
    service.write_config()
    service.reload()
    service.continue_workers()
    service.expect(r"warm start: ends after \d+ of 20 files: it was switched off", after)
    wait_until(lambda: warm_status(service)["state"] == "off", "it says so")
    assert open_all_as(NOBODY, paths)[os.fsencode(str(paths[0]))][0] is None


def test_the_service_ends_in_the_middle_of_it(place, volume):
    service, paths, after = begin_and_stand_still(place, volume)
    assert service.stop() == 0
    service.continue_workers()
    again = service.position()
    service.start()
    numbers = wait_warm(service, again)
    assert numbers["verified"] + numbers["known"] == 20


def test_the_engine_is_lost_in_the_middle_of_it(place, volume):
    service, paths, after = begin_and_stand_still(place, volume)
    service.signal("engine", 9)
    service.continue_workers()
    wait_until(lambda: service.match(ENDED, after), "it ends", PATIENCE)
    numbers = wait_warm(service, after)
    assert numbers["verified"] + numbers["known"] == 20


def test_it_keeps_to_the_allowance_of_full_scans(place, volume):
    """As far as one can see without a clock: one at a time where there is less than one processor."""
    paths = write(volume, 10)
    service = start(place, volume, full_scan={"cpu": "5%"})
    use(paths)
    after = switch(service, OTHER[1])
    workers = service.stop_workers()
    wait_until(lambda: service.status()["workers"]["busy"] == 1, "a worker has been asked")
    assert service.status()["requests"] == 1
    service.continue_workers(*workers)
    assert wait_warm(service, after)["verified"] == 10
