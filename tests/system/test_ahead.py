# SPDX-License-Identifier: GPL-2.0-only
"""What is written is scanned before anybody opens it."""
import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    create,
    open_as,
    open_held,
    take_steps,
    unmount,
    wait_until,
    writing,
)

NOTHING = {"scanned": 0, "infected": 0, "waiting": 0, "dropped": 0}

# Where times tell of each change; there a verdict is known although the kernel may have forgotten it.
REMEMBERED = ["ext4", "xfs", "btrfs"]


def start(place, volume, **options):
    (volume / "home").mkdir(exist_ok=True)
    return place.start(include=volume / "home", **options)


def ahead(service):
    return service.status()["scan_ahead"]


def wait_scanned(service, n):
    """Until so many files have been scanned that nobody had opened."""
    wait_until(lambda: ahead(service)["scanned"] == n, f"{n} files were scanned ahead")


@pytest.mark.all_filesystems
def test_malware_is_reported_when_it_lands(place, volume):
    service = start(place, volume)
    path = volume / "home/new"
    create(path, EICAR)
    service.expect_found(path)
    counters = service.status()["counters"]
    assert ahead(service) == {**NOTHING, "scanned": 1, "infected": 1}
    assert (counters["verdicts"]["infected"], counters["scans"]["infected"]) == (0, 0)
    assert open_as(NOBODY, path).error == "EPERM"


@pytest.mark.parametrize("volume", [*REMEMBERED, "tmpfs"], indirect=True)
def test_the_first_reader_of_what_was_written_is_not_held(place, volume):
    service = start(place, volume)
    path, infected = volume / "home/new", volume / "home/eicar"
    create(path, CLEAN)
    create(infected, EICAR)
    wait_scanned(service, 2)
    # Nobody is there to scan anything.
    service.stop_workers()
    assert open_as(NOBODY, path).content == CLEAN
    if volume.kind in REMEMBERED:
        assert open_as(NOBODY, infected).error == "EPERM"


def test_what_is_written_again_is_scanned_again(place, volume):
    service = start(place, volume)
    path = volume / "home/new"
    create(path, CLEAN)
    wait_scanned(service, 1)
    take_steps("root", *writing(path, EICAR, "O_TRUNC"))
    service.expect_found(path)
    assert open_as(NOBODY, path).error == "EPERM"
    take_steps("root", *writing(volume / "home/other", CLEAN, "O_CREAT"))
    wait_scanned(service, 3)


def test_a_mapping_counts_once_it_is_gone(place, volume):
    service = start(place, volume)
    path = volume / "home/new"
    create(path, b"x" * len(EICAR))
    wait_scanned(service, 1)
    take_steps(
        "root",
        ("open", "file", path, ["O_RDWR"]),
        ("map", "file"),
        ("store", "file", EICAR),
        ("unmap", "file"),
        ("close", "file"),
    )
    service.expect_found(path)


def test_whoever_writes_it(place, volume):
    """An exclusion is for what somebody opens, not for what he leaves to others."""
    service = start(place, volume, exclude_user="root")
    path = volume / "home/new"
    create(path, EICAR)
    service.expect_found(path)


def test_mode_notify_reports_it_too(place, volume):
    service = start(place, volume, mode="notify")
    path = volume / "home/new"
    create(path, EICAR)
    service.expect_found(path)


def test_what_is_out_of_scope_is_left_alone(place, volume):
    service = start(place, volume, exclude=volume / "home/side")
    (volume / "home/side").mkdir()
    create(volume / "home/side/eicar", EICAR)
    create(volume / "outside", EICAR)
    create(volume / "home/empty", b"")
    create(volume / "home/new", CLEAN)
    wait_scanned(service, 1)
    assert ahead(service) == {**NOTHING, "scanned": 1}
    assert not service.found()


def test_it_can_be_switched_off(place, volume):
    service = start(place, volume, scan_ahead=False)
    path = volume / "home/new"
    create(path, EICAR)
    assert ahead(service) == NOTHING
    assert open_as(NOBODY, path).error == "EPERM"
    service.expect_found(path)
    assert len(service.found()) == 1 and ahead(service) == NOTHING
    service.sections["on-access"]["scan-ahead"] = True
    service.write_config()
    service.reload()
    create(volume / "home/other", EICAR)
    service.expect_found(volume / "home/other")
    assert ahead(service) == {**NOTHING, "scanned": 1, "infected": 1}


@pytest.mark.deadline(120)
def test_what_workers_have_no_time_for_is_dropped_and_scanned_when_it_is_opened(place, volume):
    service = start(place, volume)
    service.stop_workers()
    for i in range(4):
        create(volume / f"home/new{i}", EICAR)
    # One is with a worker that stands still, which nobody can help.
    wait_until(lambda: ahead(service)["dropped"] == 3, "nothing waits for ever")
    assert ahead(service)["waiting"] == 0
    opener = open_held(place, volume / "home/new3")
    service.continue_workers()
    assert opener.opened().error == "EPERM"
    service.expect_found(volume / "home/new0")


def test_what_is_opened_overtakes_what_was_written(place, volume):
    service = start(place, volume)
    service.stop_workers()
    for i in range(4):
        create(volume / f"home/new{i}", b"%d" % i + CLEAN)
    busy = service.holder()
    opener = open_held(place, volume / "home/new3")
    # The one worker that what was written may have stands still: the other is for opens.
    service.continue_workers(*set(service.workers()) - {busy})
    assert opener.opened().content == b"3" + CLEAN
    assert ahead(service)["scanned"] == 0
    service.continue_workers()
    # The one that was opened may have been too fresh to be remembered.
    wait_until(lambda: ahead(service)["scanned"] >= 3 and not ahead(service)["waiting"], "all were scanned")


def test_who_opens_what_is_being_scanned_gets_its_verdict(place, volume):
    service = start(place, volume)
    service.stop_workers()
    path = volume / "home/new"
    create(path, EICAR)
    service.holder()
    opener = open_held(place, path)
    service.continue_workers()
    assert opener.opened().error == "EPERM"
    service.expect_found(path)
    status = service.status()
    assert status["counters"]["joined"] == 1
    assert status["scan_ahead"] == NOTHING and status["counters"]["verdicts"]["infected"] == 1


def test_a_filesystem_can_soon_be_unmounted(place, volume):
    service = start(place, volume)
    for i in range(50):
        create(volume / f"home/new{i}", b"%d" % i + CLEAN)
    unmount(volume.path)
    assert service.pid("guard")


def test_the_next_guard_goes_on(place, volume):
    service = start(place, volume)
    service.standbys()
    service.stop_workers()
    before = volume / "home/before"
    create(before, EICAR)
    service.holder()
    service.lose_guard()
    service.continue_workers()
    service.expect_found(before)
    after = volume / "home/after"
    create(after, EICAR)
    service.expect_found(after)
    assert ahead(service)["infected"] == 2
