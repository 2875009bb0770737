# SPDX-License-Identifier: GPL-2.0-only
"""Updates that go wrong in the middle: no room, no permission, no more life. There is always a set that loads."""
import os
import pwd
import re
import shutil
import subprocess

import pytest
from harness import (
    USER,
    finish_holdfast,
    holdfast,
    is_sanitized,
    read_status,
    run,
    start_holdfast,
    unmount,
    wait_until,
)
from updates import (
    FAILED,
    UP_TO_DATE,
    UPDATED,
    asked,
    expect_in_force,
    finds,
    found_in,
    in_force,
    install,
    make_service,
    needs_data,
    publish,
    update,
)

pytestmark = needs_data

PAGE = 4096


@pytest.fixture
def service(place, mirror):
    return make_service(place, mirror)


# --- the disk --------------------------------------------------------------------------------------------------


@pytest.fixture
def small(place, service):
    """The directory of signatures is on a filesystem of its own, where little fits."""
    place.keeper.tell("mount", service.signatures)
    run("mount", "-t", "tmpfs", "-o", "size=512K,mode=755", "tmpfs", service.signatures)
    shutil.chown(service.signatures, USER, USER)
    yield service
    unmount(service.signatures)
    place.keeper.tell("forget", service.signatures)


def fill(directory, pages):
    """Leaves so many pages free."""
    filler = directory / "filler"
    filler.unlink(missing_ok=True)
    filler.touch()
    free = os.statvfs(directory).f_bfree - pages
    with open(filler, "wb") as file:
        file.write(bytes(max(0, free) * PAGE))


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cdiff"])
def test_a_full_disk_leaves_what_was_there(small, mirror, whole):
    """With a little more room each time, so that it gives out at every step."""
    install(small, mirror, 5)
    publish(mirror.directory, 6, [] if whole else range(2, 7))
    failed = 0
    for pages in range(64):
        fill(small.signatures, pages)
        done = holdfast(small, "update")
        versions = set(in_force(small).values())
        if done.returncode == UPDATED:
            assert versions == {6}
            break
        said = done.stdout + done.stderr
        assert done.returncode == FAILED, said
        assert "No space left" in said, said
        assert versions == {5}
        assert pages % 4 or finds(small) == found_in(5)
        failed += 1
    assert versions == {6} and failed
    (small.signatures / "filler").unlink()
    assert finds(small) == found_in(6)
    update(small, UP_TO_DATE)


def test_a_full_disk_is_named_and_no_reason_to_ask_again_and_again(small, mirror):
    install(small, mirror, 5)
    publish(mirror.directory, 6, [])
    fill(small.signatures, 0)
    said = update(small, FAILED)
    assert len(asked(mirror)) <= 3
    assert str(small.signatures) in said, "nothing says where there is no room"


def test_a_directory_that_is_read_only(small, mirror):
    install(small, mirror, 5)
    publish(mirror.directory, 6)
    # Files that are being removed count as written to, for a moment.
    wait_until(
        lambda: subprocess.run(["mount", "-o", "remount,ro", small.signatures], check=False).returncode == 0,
        "the filesystem is read-only",
    )
    said = update(small, FAILED)
    assert str(small.signatures) in said and "Read-only" in said, said
    assert asked(mirror) == []
    expect_in_force(small, "test.cvd", 5)
    run("mount", "-o", "remount,rw", small.signatures)
    update(small, UPDATED)
    expect_in_force(small, "test.cld", 6)


@pytest.mark.parametrize("name", ["fetch/state.json", "fetch/lock", "sets", "current"])
def test_what_is_lost_is_made_anew(service, mirror, name):
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    path = service.signatures / name
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    update(service, UPDATED)
    assert set(in_force(service).values()) == {6}
    assert finds(service) == found_in(6)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99}', "\0" * 100, '{"sources": [{"url": 1}]}'])
def test_what_is_remembered_of_mirrors_may_be_nonsense(service, mirror, text):
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    (service.signatures / "fetch" / "state.json").write_text(text)
    update(service, UPDATED)
    expect_in_force(service, "test.cld", 6)


# --- killed ----------------------------------------------------------------------------------------------------

# What changes files or directories, and some of what comes between: each is made to kill the fetcher, in turn.
# The second number: only every so manyth, where there are many.
CALLS = {
    "rename": (("rename", "renameat", "renameat2"), 1),
    "link": (("link", "linkat"), 1),
    "unlink": (("unlink", "unlinkat", "rmdir"), 1),
    "symlink": (("symlink", "symlinkat"), 1),
    "sync": (("fsync", "fdatasync"), 1),
    "mkdir": (("mkdir", "mkdirat"), 1),
    "size and mode": (("ftruncate", "chmod", "fchmod", "fchmodat"), 1),
    "lock": (("flock",), 1),
    "fork and wait": (("clone", "clone3", "fork", "wait4", "waitid", "pidfd_open"), 1),
    "write": (("write", "pwrite64"), 1),
    "open": (("openat",), 4),
}

# Stands where the fetcher is started, and lets strace start it: without -f, so that its children are not counted, and
# in a session of its own, so that it lives to tell when the fetcher's process group is killed.
WRAPPER = r"""
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	return execl("/bin/sh", "sh", "-c", getenv("HOLDFAST_TEST_FETCH"), (char *)0);
}
"""


class Traced:
    """A service whose updates are killed at a system call."""

    def __init__(self, service):
        self.service = service
        finish_holdfast(start_holdfast(service, "update", "--help"))  # copies the programs
        self.real = service.directory / "holdfast-fetch-real"
        fetch = service.directory / "holdfast-fetch"
        fetch.rename(self.real)
        subprocess.run(["cc", "-o", fetch, "-x", "c", "-"], input=WRAPPER, text=True, check=True)
        self.log = service.directory / "log" / "trace"

    def update(self, calls, number):
        """Returns whether the fetcher was killed when it made one of these calls for the nth time."""
        self.log.write_text("")
        shutil.chown(self.log, USER)
        strace = ["exec strace -DDD -qqq -o", str(self.log), f"--trace={','.join('?' + call for call in calls)}"]
        strace += [f"'--inject=?{call}:signal=SIGKILL:when={number}'" for call in calls]
        self.service.environment["HOLDFAST_TEST_FETCH"] = " ".join([*strace, str(self.real)])
        done = finish_holdfast(start_holdfast(self.service, "update"))
        wait_until(lambda: not self.service.processes(), "what was started has ended")
        lines = self.log.read_text(errors="replace").splitlines()
        killed = any(sum(line.startswith(call + "(") for line in lines) >= number for call in calls)
        # When it is killed after its last word, that still holds.
        expected = (FAILED, UPDATED, UP_TO_DATE) if killed else (UPDATED, UP_TO_DATE)
        assert done.returncode in expected, f"{done.returncode}: {done.stdout}{done.stderr}"
        return killed


def restore(service, kept):
    shutil.rmtree(service.signatures)
    run("cp", "-a", kept, service.signatures)


def names_below(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@pytest.mark.deadline(600)
@pytest.mark.parametrize("way", ["cdiff", "whole", "first"])
@pytest.mark.parametrize("kind", CALLS)
def test_a_fetcher_that_is_killed_leaves_the_old_set_or_the_new_one(place, service, mirror, kind, way):
    """At each of these calls; and the next update needs no help."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    calls, step = CALLS[kind]
    before = () if way == "first" else (5,)
    for version in before:
        install(service, mirror, version)
    publish(mirror.directory, 6, range(2, 7) if way == "cdiff" else [])
    kept = place.base / "kept"
    run("cp", "-a", service.signatures, kept)
    update(service, UPDATED)
    undisturbed = names_below(service.signatures / "fetch")
    restore(service, kept)
    traced = Traced(service)

    number = 1
    while traced.update(calls, number):
        where = f"killed at {kind} {number}"
        versions = tuple(in_force(service).values())
        assert versions in (before, (6,)), where
        assert finds(service) == found_in(versions[0] if versions else 0), where
        service.environment["HOLDFAST_TEST_FETCH"] = f"exec {traced.real}"
        # A first set that was complete is put in force when the next run begins.
        done = holdfast(service, "update")
        expected = {(): (UPDATED, UP_TO_DATE), (5,): (UPDATED,), (6,): (UP_TO_DATE,)}[versions]
        assert done.returncode in expected, f"{where}: {done.returncode}: {done.stdout}{done.stderr}"
        assert tuple(in_force(service).values()) == (6,), where
        assert len(os.listdir(service.signatures / "sets")) <= 2, where
        left = names_below(service.signatures / "fetch")
        assert left <= undisturbed, f"{where}: {left - undisturbed} has been left"
        restore(service, kept)
        number += step
    assert tuple(in_force(service).values()) == (6,)
    assert finds(service) == found_in(6)
    assert number > 1 or kind in ("lock", "link", "size and mode"), "it makes no such calls"


# --- what it may do --------------------------------------------------------------------------------------------

# Tries from within, once everything has been set up, what the fetcher has no business with.
INTRUDER = r"""
#define _GNU_SOURCE
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void tell(const char *what, int r)
{
	dprintf(STDERR_FILENO, "intruder: %s: %s\n", what, r < 0 ? strerror(errno) : "done");
}

CURLcode curl_easy_perform(CURL *handle)
{
	CURLcode (*next)(CURL *) = (CURLcode (*)(CURL *))dlsym(RTLD_NEXT, "curl_easy_perform");

	tell("make", open(OUTSIDE "/made", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	tell("write", open(OUTSIDE "/there", O_WRONLY | O_CLOEXEC));
	tell("truncate", truncate(OUTSIDE "/there", 0));
	tell("remove", unlink(OUTSIDE "/there"));
	tell("mkdir", mkdir(OUTSIDE "/directory", 0755));
	tell("symlink", symlink("x", OUTSIDE "/symlink"));
	tell("move in", rename(OUTSIDE "/there", INSIDE "/there"));
	tell("inside", open(INSIDE "/made", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	return next(handle);
}
"""


def test_it_writes_nowhere_but_in_the_directory_of_signatures(place, service, mirror):
    """Though its user might."""
    if is_sanitized():
        pytest.skip("AddressSanitizer wants to be loaded first")
    publish(mirror.directory, 6)
    outside = place.base / "outside"
    outside.mkdir()
    (outside / "there").write_text("precious")
    for path in (outside, outside / "there"):
        shutil.chown(path, USER, USER)
    library = place.base / "intruder.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", library, f'-DOUTSIDE="{outside}"', f'-DINSIDE="{service.signatures}"',
         "-x", "c", "-"],
        input=INTRUDER, text=True, check=True,
    )  # fmt: skip
    service.environment["LD_PRELOAD"] = str(library)
    done = holdfast(service, "update")
    del service.environment["LD_PRELOAD"]
    tried = dict(re.findall(r"intruder: (.*): (.*)", done.stderr))
    assert tried.pop("inside") == "done", "it did not run where it should have"
    assert len(tried) == 7 and set(tried.values()) <= {"Permission denied", "Invalid cross-device link"}, tried
    assert os.listdir(outside) == ["there"] and (outside / "there").read_text() == "precious"


def test_a_link_leads_it_nowhere_else(place, service, mirror):
    """Whoever may write to its directory must not have it write to others."""
    install(service, mirror, 5)
    publish(mirror.directory, 6, [])
    outside = place.base / "outside"
    outside.mkdir()
    shutil.chown(outside, USER, USER)
    partial = service.signatures / "fetch" / "partial"
    shutil.rmtree(partial)
    partial.symlink_to(outside)
    holdfast(service, "update")
    assert not os.listdir(outside)
    assert set(in_force(service).values()) <= {5, 6}


def test_it_has_no_privileges(service, mirror):
    publish(mirror.directory, 6)
    mirror.rules = [{"path": "/test.cvd", "range": False, "stall": 2000}]
    process = start_holdfast(service, "update")
    wait_until(lambda: mirror.account and mirror.account[-1]["sent"] == 2000, "it waits for the rest")
    account = pwd.getpwnam(USER)
    status = read_status(service.pid("fetch"))
    assert status["Uid"].split() == [str(account.pw_uid)] * 4 and status["Gid"].split() == [str(account.pw_gid)] * 4
    assert status["Groups"] == "" and status["NoNewPrivs"] == "1"
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {0}
    process.terminate()
    finish_holdfast(process)


def test_nobody_else_may_update(service, mirror):
    publish(mirror.directory, 6)
    update(service, FAILED, user="nobody")
    assert asked(mirror) == [] and in_force(service) == {}
