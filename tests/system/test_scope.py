# SPDX-License-Identifier: GPL-2.0-only
"""Which opens are held and which are not: by path, by user, by process and by mode."""
import shutil
from pathlib import Path

import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    create,
    execute_as,
    need,
    open_as,
    run,
    start_open,
    take_steps,
)

# Rules within the volume, and what becomes of files that are all infected: True: refused.
PATH_RULES = {
    "a directory means all below it and none that begins with its name": (
        ["home/a"],
        [],
        {
            "home/a/x": True,
            "home/a/deep/er/x": True,
            "home/ab/x": False,
            "home/ab": False,
            "home/a.x": False,
            "home/x": False,
            "x": False,
        },
    ),
    "a file may be included by itself": (["home/file"], [], {"home/file": True, "home/file2": False}),
    "exclude wins over include": (
        ["home"],
        ["home/b"],
        {"home/a/x": True, "home/b/x": False, "home/b/deep/x": False, "home/bb/x": True},
    ),
    "exclude wins whichever is the longer": (["home/b/c"], ["home/b"], {"home/b/c/x": False}),
    "several of each": (
        ["one", "two"],
        ["one/no", "two/no"],
        {"one/x": True, "two/x": True, "three/x": False, "one/no/x": False, "two/no/x": False},
    ),
    "* stands for a part of one component": (
        ["home/*/data"],
        [],
        {
            "home/ann/data/x": True,
            "home/bob/data/deep/x": True,
            "home/ann/other/x": False,
            "home/data/x": False,
            "home/ann/sub/data/x": False,
        },
    ),
    "* within a component": (
        ["srv"],
        ["srv/*.tmp"],
        {"srv/a.tmp": False, "srv/a.tmpx": True, "srv/sub/a.tmp": True, "srv/a.txt": True},
    ),
    "** stands for any number of components": (
        ["home"],
        ["home/**/cache"],
        {
            "home/cache/x": False,
            "home/ann/cache/x": False,
            "home/ann/deep/er/cache/x": False,
            "home/ann/cached/x": True,
            "home/x": True,
        },
    ),
    "trailing and repeated slashes mean nothing": (["home//a/"], [], {"home/a/x": True, "home/ab/x": False}),
    "nothing else in a rule is special": (
        ["home/a?[b].+"],
        [],
        {"home/a?[b].+/x": True, "home/axb.+/x": False, "home/axbz/x": False},
    ),
}


@pytest.mark.parametrize("includes, excludes, files", PATH_RULES.values(), ids=PATH_RULES.keys())
def test_rules_for_paths(place, volume, includes, excludes, files):
    for name in files:
        volume.write(name, EICAR) if not (volume / name).is_dir() else None
    files = {name: refused for name, refused in files.items() if (volume / name).is_file()}
    place.start(
        include=[f"{volume.path}/{rule}" for rule in includes],
        exclude=[f"{volume.path}/{rule}" for rule in excludes],
    )
    answers = {name: open_as(NOBODY, volume / name).error == "EPERM" for name in files}
    assert answers == files, "True: refused, False: let through"


def test_an_include_path_may_be_a_symbolic_link(place, volume):
    infected = volume.write("real/eicar", EICAR)
    (volume / "link").symlink_to("real")
    place.start(include=volume / "link")
    assert open_as(NOBODY, infected).error == "EPERM"
    assert open_as(NOBODY, volume / "link/eicar").error == "EPERM"


def test_an_excluded_path_through_a_symbolic_link_into_scope_is_held(place, volume):
    """What counts is the file, not the name it is called by."""
    volume.write("in/eicar", EICAR)
    volume.write("out/clean", CLEAN)
    (volume / "out/link").symlink_to("../in/eicar")
    place.start(include=volume / "in", exclude=volume / "out")
    assert open_as(NOBODY, volume / "out/link").error == "EPERM"
    assert open_as(NOBODY, volume / "out/clean").content == CLEAN


@pytest.mark.every_filesystem
def test_what_is_moved_into_scope_is_in_scope(place, volume):
    """Each was opened before, so that anything remembered of it would show."""
    names = ["file", "directory/file", "directory/deep/er/file"]
    for name in names:
        volume.write("out/" + name, EICAR)
    (volume / "in").mkdir()
    place.start(include=volume / "in")
    for name in names:
        for _ in range(2):
            assert open_as(NOBODY, volume / "out" / name).content == EICAR
    take_steps(
        "root",
        ("rename", volume / "out/file", volume / "in/file"),
        ("rename", volume / "out/directory", volume / "in/directory"),
    )
    for name in names:
        assert open_as(NOBODY, volume / "in" / name).error == "EPERM", f"{name} was moved into scope"


def bind_mount(place, source):
    target = place.base / "elsewhere"
    target.mkdir()
    run("mount", "--bind", source, target)
    place.keeper.tell("mount", target)
    return target


def test_a_bind_mount_is_no_way_round(place, volume):
    """The same file by another path, in this mount namespace and in another."""
    volume.write("in/eicar", EICAR)
    volume.write("in/clean", CLEAN)
    target = bind_mount(place, volume / "in")
    try:
        place.start(include=volume / "in")
        assert open_as(NOBODY, target / "clean").content == CLEAN
        assert open_as(NOBODY, target / "eicar").error == "EPERM"
    finally:
        run("umount", target)
        place.keeper.tell("forget", target)


def test_another_mount_namespace_is_no_way_round(place, volume):
    """As a container sees it: the directory, bound elsewhere, in a namespace of its own."""
    need("other mount namespaces")
    volume.write("in/eicar", EICAR)
    volume.write("in/clean", CLEAN)
    target = place.base / "elsewhere"
    target.mkdir()
    place.start(include=volume / "in")
    script = f'mount --bind "{volume.path}/in" "{target}" && cat "{target}/$0"'
    for name, refused in (("clean", False), ("eicar", True)):
        done = execute_as("root", "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, name)
        assert (done.status != 0) == refused, f"{name}: {done}"


def test_the_rest_of_the_filesystem_is_untouched(place, volume):
    """The mark is on all of it, but out of scope nothing is scanned: not even when no worker answers."""
    volume.write("in/clean", CLEAN)
    infected, outside = volume.write("out/eicar", EICAR), volume.write("file", CLEAN)
    service = place.start(include=volume / "in")
    service.stop_workers()
    assert open_as(NOBODY, infected).content == EICAR
    assert open_as(NOBODY, outside).content == CLEAN
    create(volume / "out/new", EICAR)
    assert open_as("root", volume / "out/new").content == EICAR
    held = place.keep(start_open(NOBODY, volume / "in/clean")).wait_held()
    service.continue_workers()
    assert held.opened().content == CLEAN
    assert not service.found()


def test_other_filesystems_are_untouched(place):
    protected, other = place.volume(), place.volume()
    protected.write("eicar", EICAR)
    infected = other.write("eicar", EICAR)
    place.start(include=protected.path)
    assert open_as(NOBODY, infected).content == EICAR
    assert open_as(NOBODY, protected / "eicar").error == "EPERM"


def test_two_filesystems_can_be_protected(place):
    volumes = [place.volume("ext4"), place.volume("tmpfs")]
    for volume in volumes:
        volume.write("in/eicar", EICAR)
        volume.write("in/clean", CLEAN)
        volume.write("out/eicar", EICAR)
    place.start(include=[volume / "in" for volume in volumes])
    for volume in volumes:
        assert open_as(NOBODY, volume / "in/eicar").error == "EPERM"
        assert open_as(NOBODY, volume / "in/clean").content == CLEAN
        assert open_as(NOBODY, volume / "out/eicar").content == EICAR


@pytest.fixture
def eicar(volume):
    return volume.write("home/eicar", EICAR)


@pytest.fixture
def other_cat(place):
    """A program by another path than everyone else's."""
    path = place.base / "bin" / "cat"
    path.parent.mkdir()
    shutil.copy("/bin/cat", path)
    return path


def test_excluded_users_are_not_held_and_others_are(place, volume, eicar):
    service = place.start(include=volume / "home", exclude_user=NOBODY)
    assert open_as(NOBODY, eicar).content == EICAR
    assert open_as("root", eicar).error == "EPERM"
    assert open_as("daemon", eicar).error == "EPERM"

    new = volume / "home/new"
    create(new, CLEAN)
    service.stop_workers()
    assert open_as(NOBODY, new).content == CLEAN, "an excluded user had to wait"


def test_an_excluded_user_is_meant_by_the_whole_name(place, volume, eicar):
    """A user whose name merely begins like another's is another user."""
    place.start(include=volume / "home", exclude_user="sys")
    assert open_as("sys", eicar).content == EICAR
    assert open_as("sync", eicar).error == "EPERM"
    assert open_as("daemon", eicar).error == "EPERM"


@pytest.mark.parametrize("dumpable", [True, False], ids=["dumpable", "non-dumpable"])
def test_a_process_of_another_user_never_counts_as_root(place, volume, eicar, dumpable):
    """Root owns what is in /proc of a process that is non-dumpable, as all are that changed their user."""
    place.start(include=volume / "home", exclude_user="root")
    assert open_as("root", eicar).content == EICAR
    assert open_as(NOBODY, eicar, dumpable=dumpable).error == "EPERM"


def test_the_service_user_is_not_held(place, volume, eicar):
    place.start(include=volume / "home")
    assert open_as("holdfast", eicar).content == EICAR
    assert open_as(NOBODY, eicar).error == "EPERM"


@pytest.mark.parametrize("rule", ["cat", "", "**/cat"], ids=["path", "directory", "wildcard"])
def test_excluded_processes_are_not_held_and_others_are(place, volume, eicar, other_cat, rule):
    directory = other_cat.parent
    service = place.start(
        include=volume / "home", exclude_process=f"{place.base if rule.startswith('**') else directory}/{rule}"
    )
    excluded = execute_as(NOBODY, other_cat, eicar)
    assert excluded.output == EICAR.decode(), "an excluded process was refused"
    assert execute_as(NOBODY, "/bin/cat", eicar).status != 0
    assert "not permitted" in execute_as("root", "/bin/cat", eicar).output

    create(volume / "home/new", CLEAN)
    service.stop_workers()
    assert execute_as(NOBODY, other_cat, volume / "home/new").output == CLEAN.decode(), "it had to wait"


def test_an_excluded_process_is_meant_by_whole_components(place, volume, eicar, other_cat):
    other = Path(str(other_cat) + "2")
    shutil.copy(other_cat, other)
    place.start(include=volume / "home", exclude_process=other_cat)
    assert execute_as(NOBODY, other_cat, eicar).output == EICAR.decode()
    assert execute_as(NOBODY, other, eicar).status != 0


def test_notify_logs_and_lets_through(place, volume, eicar):
    clean = volume.write("home/clean", CLEAN)
    service = place.start(include=volume / "home", mode="notify")
    assert open_as(NOBODY, eicar).content == EICAR
    assert open_as(NOBODY, clean).content == CLEAN
    service.expect_found(eicar)
    assert service.found() == [(str(eicar), service.found()[0][1])]


def test_notify_keeps_nobody_waiting(place, volume, eicar):
    service = place.start(include=volume / "home", mode="notify")
    service.stop_workers()
    assert open_as(NOBODY, eicar).content == EICAR
    assert not service.found()
    service.continue_workers()
    service.expect_found(eicar)


def test_off_neither_holds_nor_logs(place, volume, eicar):
    service = place.start(include=volume / "home", mode="off")
    assert open_as(NOBODY, eicar).content == EICAR
    service.sections["on-access"]["mode"] = "block"
    service.write_config()
    service.reload()
    assert open_as(NOBODY, eicar).error == "EPERM", "a reload switches it on"
    service.expect_found(eicar)
    assert len(service.found()) == 1


@pytest.mark.parametrize(
    "mode, content", [("notify", EICAR), ("off", EICAR), ("block", b"")], ids=["notify", "off", "block"]
)
def test_the_mode_changes_with_a_reload(place, volume, eicar, mode, content):
    service = place.start(include=volume / "home")
    assert open_as(NOBODY, eicar).error == "EPERM"
    service.sections["on-access"]["mode"] = mode
    service.write_config()
    service.reload()
    assert open_as(NOBODY, eicar).content == content


def test_scope_changes_with_a_reload(place, volume, eicar):
    """Into scope, out of it and onto another filesystem."""
    other = place.volume()
    infected = other.write("eicar", EICAR)
    service = place.start(include=volume / "home")
    for include, refused in (
        ([volume / "home", other.path], {eicar: True, infected: True}),
        ([other.path], {eicar: False, infected: True}),
        ([volume / "other", other / "other"], {eicar: False, infected: False}),
        ([volume / "home"], {eicar: True, infected: False}),
    ):
        for path in include:
            if not path.exists():
                take_steps("root", ("mkdir", path))
        service.sections["on-access"]["include"] = include
        service.write_config()
        service.reload()
        assert {path: open_as(NOBODY, path).error == "EPERM" for path in refused} == refused
