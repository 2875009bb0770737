# SPDX-License-Identifier: GPL-2.0-only
"""
Ways round the guard that somebody has to think of: each was one, until it was closed. What users can do comes first,
then what befalls a machine without anybody meaning it.
"""
import os
import shutil
import time

import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    expect_protection,
    open_as,
    run,
    start_steps,
    take_steps,
    wait_until,
    writing,
)
from test_roads import device_of, try_open

HARMLESS = b"x" * len(EICAR)
OFTEN = 60  # so often a file is opened that its directory is passed over


def verify(path, content=HARMLESS):
    for _ in range(2):
        assert open_as(NOBODY, path).content == content


def stores(path, content):
    """The steps of writing through a mapping."""
    return (
        ("open", "file", path, ["O_RDWR"]),
        ("map", "file"),
        ("close", "file"),
        ("store", "file", content),
        ("unmap", "file"),
    )


@pytest.mark.every_filesystem
def test_a_lease_does_not_hide_that_a_file_was_written_to(place, volume):
    """The kernel cannot open the file for the guard then, and drops the news of the close."""
    path = volume.write("home/file", HARMLESS, 0o666)
    shutil.chown(path, NOBODY)
    service = place.start(include=volume / "home")
    service.disturbed = True
    verify(path)
    guard = service.freeze(service.pid("guard"))
    writer = start_steps(
        NOBODY, *stores(path, EICAR), ("open", "lease", path, ["O_RDONLY"]), ("lease", "lease"), ("wait",)
    )
    place.keep(writer).wait_for_about()
    service.continue_workers(guard)
    wait_until(lambda: service.status()["counters"]["read_errors"], "the guard has met the lease")
    writer.go_on()
    writer.finish()
    for user in (NOBODY, "root"):
        assert open_as(user, path).error == "EPERM", "the verdict on what it was is still remembered"


def test_a_hard_link_elsewhere_does_not_lend_its_name(place, volume):
    """A handle, by which files of other mount namespaces are found, may lead to any link."""
    infected = volume.write("in/eicar", EICAR)
    volume.mkdir("out")
    place.start(include=volume / "in")
    os.link(infected, volume / "out/link")
    elsewhere = place.base / "elsewhere"
    elsewhere.mkdir()
    steps = ("unshare_mounts",), ("mount", volume / "in", elsewhere, None, ["bind"], None)
    assert take_steps("root", *steps, *try_open(volume / "out/link"), *try_open(elsewhere / "eicar")).error == "EPERM"


@pytest.mark.parametrize("volume", ["overlay"], indirect=True)
def test_a_hard_link_in_an_overlay_does_not_lend_its_name(place, volume):
    for name in ("upper/in", "upper/out"):
        volume.mkdir(name)
        shutil.chown(volume / name, NOBODY)
    place.start(include=volume / "upper/in")
    infected = volume / "upper/in/eicar"
    take_steps(NOBODY, *writing(infected, EICAR, "O_CREAT", "O_EXCL"))
    take_steps(NOBODY, ("link", infected, volume / "upper/out/link"))
    for user in (NOBODY, "root"):
        assert open_as(user, infected).error == "EPERM"


def test_a_directory_of_roots_cannot_be_renamed_into_scope_by_who_owns_the_one_it_is_in(place, volume):
    """That takes no right on the directory itself."""
    everybodys = volume.mkdir("everybodys")
    volume.write("everybodys/roots/eicar", EICAR)
    everybodys.chmod(0o777)
    place.start(include=everybodys / "protected")
    result = take_steps(
        NOBODY,
        ("open_often", everybodys / "roots/eicar", OFTEN),
        ("rename", everybodys / "roots", everybodys / "protected"),
        *try_open(everybodys / "protected/eicar"),
    )
    assert result.error == "EPERM"


@pytest.fixture
def disk(place):
    """Another filesystem, which nothing else shows."""
    return place.volume("ext4")


def mount(place, how, what, where):
    where.mkdir(parents=True, exist_ok=True)
    run("mount", *how, what, where)
    place.keeper.tell("mount", where)


def unmount(place, where):
    run("umount", where)
    place.keeper.tell("forget", where)


def wait_watched(service, path):
    wait_until(lambda: any(mount["path"] == str(path) for mount in service.status()["mounts"]), f"{path} is watched")


def test_what_moves_with_the_directory_it_is_mounted_in_is_protected(place, volume, disk):
    """To poll() the mount table has not changed."""
    disk.write("eicar", EICAR)
    users = volume.mkdir("users/disks")
    shutil.chown(volume / "users", NOBODY)
    shutil.chown(users, NOBODY)
    shutil.chown(volume.mkdir("home"), NOBODY)
    mount(place, ["--bind"], disk.path, users / "usb")
    service = place.start(include=volume / "home")
    take_steps(NOBODY, ("rename", users, volume / "home/disks"))
    moved = volume / "home/disks/usb"
    wait_watched(service, moved)
    assert open_as(NOBODY, moved / "eicar").error == "EPERM"
    place.keeper.tell("mount", moved)
    unmount(place, moved)
    place.keeper.tell("forget", users / "usb")


def test_nothing_is_remembered_of_a_filesystem_that_was_not_watched_meanwhile(place, volume, disk):
    path = disk.write("home/file", HARMLESS, 0o666)
    volume.mkdir("home")
    shown = volume / "home/shown"
    mount(place, ["--bind"], disk / "home", shown)
    service = place.start(include=volume / "home")
    verify(shown / "file")
    unmount(place, shown)
    wait_until(lambda: len(service.status()["mounts"]) == 1, "it is no longer watched")
    take_steps(NOBODY, *stores(path, EICAR))
    mount(place, ["--bind"], disk / "home", shown)
    wait_watched(service, shown)
    assert open_as(NOBODY, shown / "file").error == "EPERM"
    unmount(place, shown)


def test_a_busy_directory_of_a_filesystem_that_somebody_keeps_is_protected_where_it_is_mounted_next(
    place, volume, disk
):
    """A mount namespace of anybody keeps it, with the marks on it."""
    disk.write("home/clean", CLEAN)
    disk.write("public/eicar", EICAR)
    run("mount", "--make-private", disk.path)
    device = device_of(disk)
    data = volume.mkdir("data")
    service = place.start(include=[disk / "home", data])
    take_steps("root", ("open_often", disk / "public/eicar", OFTEN))
    assert service.status()["bypassed_directories"] == 1
    keeper = place.keep(start_steps("root", ("unshare_mounts",), ("wait",))).wait_for_about()
    run("umount", disk.path)
    mount(place, [], device, data)
    wait_watched(service, data)
    for user in (NOBODY, "root"):
        assert open_as(user, data / "public/eicar").error == "EPERM"
    keeper.go_on()
    keeper.finish()
    service.stop()
    unmount(place, data)


def test_many_files_that_are_moved_into_scope_keep_nobody_waiting(place, volume, infected, clean):
    """They are scanned after what somebody waits for, and few at a time."""
    for number in range(2000):
        volume.write(f"out/busy/{number}", CLEAN + b"%d" % number)
    service = place.start(include=volume / "home", engine={"workers": 1})
    take_steps("root", ("open_often", volume / "out/busy/0", OFTEN))
    service.stop_workers(1)
    take_steps("root", ("rename", volume / "out/busy", volume / "home/busy"))
    wait_until(lambda: service.status()["requests"] > 32, "they are being scanned")
    for _ in range(20):
        assert service.status()["requests"] < 200, "they take up the room of those that somebody waits for"
        time.sleep(0.05)
    outside = volume / "out/other"
    take_steps("root", *writing(outside, CLEAN, "O_CREAT"))
    service.continue_workers()
    expect_protection(infected, clean)


def test_a_write_through_another_mount_namespace_is_noticed_where_mounts_are_marked(place, volume):
    """The close of the writer is on a mount without a mark."""
    path = volume.write("home/file", HARMLESS, 0o666)
    service = place.start(include=volume / "home", environment={"HOLDFAST_WITHOUT": "filesystem-marks"})
    verify(path)
    take_steps("root", ("unshare_mounts",), *stores(path, EICAR))
    for user in (NOBODY, "root"):
        assert open_as(user, path).error == "EPERM"
    service.expect_found(path)
