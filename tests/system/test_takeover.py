# SPDX-License-Identifier: GPL-2.0-only
"""
A guard that ends, however and whenever, is followed by a standby: whoever was held stays held and gets the right
answer, and nothing is let through.
"""
import os
import signal

import pytest
from harness import (
    ALL_FILESYSTEMS,
    CLEAN,
    EICAR,
    MARKER_SIGNATURE,
    NOBODY,
    expect_protection,
    open_as,
    open_held,
    read_process,
    send_signal,
    take_steps,
    wait_until,
    writing,
)

PLAIN_SIGNALS = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:handle_segv=0:handle_abort=0"}

def start(place, volume, **options):
    service = place.start(include=volume / "home", environment=PLAIN_SIGNALS, **options)
    service.standbys()
    return service


def rewrite(path, content):
    """In place, by somebody who is not held: its mark is emptied, and stays."""
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, content, 0)
    os.ftruncate(fd, len(content))
    os.close(fd)


@pytest.mark.parametrize("how", ["the guard is killed", "signatures are reloaded"])
@pytest.mark.parametrize("volume", ALL_FILESYSTEMS, indirect=True)
def test_who_waits_over_a_rewritten_file_lets_nobody_else_in(place, volume, clean, how):
    """Marks are taken back then, and an opener holds on to the one that he waits over."""
    service = start(place, volume, scan_ahead=False, signatures=MARKER_SIGNATURE)
    marks = service.status()["counters"]["marks"]
    assert open_as(NOBODY, clean).content == CLEAN
    wait_until(
        lambda: open_as(NOBODY, clean).content == CLEAN and service.status()["counters"]["marks"] > marks,
        "the kernel knows it",
    )
    rewrite(clean, EICAR)
    service.stop_workers()
    first = open_held(place, clean)
    if how == "the guard is killed":
        service.lose_guard()
    else:
        service.write_signatures({**MARKER_SIGNATURE, "another.ndb": "Another:0:*:" + b"another".hex() + "\n"})
        service.reload()
    second = open_held(place, clean)
    service.continue_workers()
    assert first.opened().error == second.opened().error == "EPERM"


def mark(service, path):
    """Has the kernel told not to ask about a clean file."""
    marks = service.status()["counters"]["marks"]
    wait_until(lambda: open_as(NOBODY, path).content and service.status()["counters"]["marks"] > marks, "it is marked")


def test_who_is_let_go_at_the_deadline_is_not_held_again(place, volume, clean):
    """After a takeover another of the guard's groups asks about those who were asked about before."""
    service = start(place, volume, hold_timeout="2s", on_timeout="allow", scan_ahead=False)
    mark(service, clean)
    other = volume.write("home/other", CLEAN)
    service.stop_workers()
    opener = open_held(place, other)
    service.lose_guard()
    assert opener.opened().content == CLEAN
    assert service.status()["counters"]["timeouts"] == 1


def is_asked_about(service, path):
    opens = service.status()["counters"]["opens"]
    assert open_as(NOBODY, path).content == CLEAN
    return service.status()["counters"]["opens"] > opens


def test_marks_are_set_again_after_a_takeover(place, volume, clean):
    service = start(place, volume)
    mark(service, clean)
    service.lose_guard()
    assert is_asked_about(service, clean)
    mark(service, clean)
    wait_until(lambda: not is_asked_about(service, clean), "only those ask who heed the mark")


@pytest.mark.parametrize("volume", ALL_FILESYSTEMS, indirect=True)
def test_whoever_is_held_when_the_guard_is_killed_gets_the_right_answer(place, volume, infected, clean):
    service = start(place, volume)
    workers = service.stop_workers()
    openers = {path: [open_held(place, path) for _ in range(3)] for path in (infected, clean)}
    service.lose_guard()
    assert all(opener.is_held() for path in openers for opener in openers[path])
    service.continue_workers()
    assert [opener.opened().error for opener in openers[infected]] == ["EPERM"] * 3
    assert [opener.opened().content for opener in openers[clean]] == [CLEAN] * 3
    service.expect_found(infected)
    assert not service.match("the guard is gone")
    restarts = service.status()["restarts"]
    assert (restarts["guard"], restarts["takeovers"], restarts["gaps"]) == (1, 1, 0)
    assert restarts["last"]["guard"]["reason"] == "was ended by Killed"
    assert service.workers() == workers and service.status()["counters"]["workers_lost"] == 0, "they go on"
    expect_protection(infected, clean)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGSTOP])
def test_it_does_not_matter_how_the_guard_ends(place, volume, infected, clean, number):
    service = start(place, volume)
    service.stop_workers()
    openers = [open_held(place, path) for path in (infected, clean)]
    service.lose_guard(number)
    service.continue_workers()
    assert [opener.opened().content for opener in openers] == [b"", CLEAN]
    expect_protection(infected, clean)


def test_guards_can_be_killed_without_end(place, volume, infected, clean):
    service = start(place, volume)
    seen = set()
    for _ in range(20):
        seen.add(service.lose_guard())
        expect_protection(infected, clean)
        service.standbys()
    assert len(seen) == 20
    assert len(service.workers()) == 2, "workers of dead guards are not left over"
    assert service.status()["restarts"]["gaps"] == 0


def test_a_standby_that_is_killed_is_replaced(place, volume, infected, clean):
    service = start(place, volume)
    old = service.standbys()
    for pid in old:
        send_signal(pid, signal.SIGKILL)
        service.disturbed = True
        wait_until(lambda pid=pid: len(service.standbys()) == 2 and pid not in service.standbys(), "it is replaced")
    assert not set(old) & set(service.standbys())
    service.lose_guard()
    expect_protection(infected, clean)
