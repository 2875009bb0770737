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
