# SPDX-License-Identifier: GPL-2.0-only
"""
What is known of a file is answered without a scan: malware that was found too late, and files that workers do not
survive; until the file or the signatures change.
"""
import signal

import pytest
from harness import (
    CLEAN,
    EICAR,
    MARKER,
    MARKER_SIGNATURE,
    NOBODY,
    expect_protection,
    holdfast,
    open_as,
    open_held,
    send_signal,
    take_steps,
    wait_until,
    writing,
)
from test_faults import BOTH_ANSWERS, crash, start


def lose_holder(service, n_lost, end=crash):
    """Ends the worker that has the file; the next that stands still is given it when that has been noticed."""
    service.disturbed = True
    end(service, service.holder())
    wait_until(lambda: service.status()["counters"]["workers_lost"] == n_lost, "the guard has noticed")


def poison(place, service, path):
    """Has two workers crash over a file. Returns what became of the open."""
    service.stop_workers()
    before = service.status()["counters"]["workers_lost"]
    opener = open_held(place, path)
    for n_lost in (1, 2):
        lose_holder(service, before + n_lost)
    return opener.opened()


# --- late verdicts ---------------------------------------------------------------------------------------------


@pytest.mark.every_filesystem
def test_after_a_late_verdict_the_next_open_is_refused_at_once(place, volume, infected, clean):
    service = start(place, volume, hold_timeout="500ms", on_timeout="allow")
    service.stop_workers()
    assert open_as(NOBODY, infected).content == EICAR
    service.disturbed = True
    service.continue_workers()
    service.expect(r"was opened before its verdict came")

    # Nobody could scan it now, and on-timeout would let it through.
    service.stop_workers()
    for user in (NOBODY, "root"):
        after = service.position()
        assert open_as(user, infected).error == "EPERM"
        service.expect_found(infected, after)
    status = service.status()
    service.continue_workers()
    assert status["counters"]["late"] == 1 and status["infected_files"] == 1
    assert status["counters"]["timeouts"] == 1
    assert status["policies"]["on-timeout"] == {"allowed": 1, "denied": 0}
    assert any("opened before their verdict came" in text for text in status["warnings"])
    expect_protection(infected, clean)


def test_in_mode_notify_the_known_are_told_of_and_let_through(place, volume, infected):
    service = start(place, volume, mode="notify")
    assert open_as(NOBODY, infected).content == EICAR
    service.expect_found(infected)
    after = service.position()
    assert open_as(NOBODY, infected).content == EICAR
    service.expect_found(infected, after)
    assert service.status()["counters"]["denied"] == 0


# --- poison ----------------------------------------------------------------------------------------------------


@BOTH_ANSWERS
def test_a_file_that_workers_do_not_survive_is_not_given_to_them_again(place, volume, infected, policy, answer):
    other = volume.write("home/other", EICAR)
    clean = volume.write("home/harmless", CLEAN)
    service = start(place, volume, on_failure=policy)
    opened = poison(place, service, infected)
    assert (opened.error, opened.content) == answer
    verb = {"allow": "allows", "deny": "denies"}[policy]
    service.expect(rf"eicar: cannot be scanned, workers do not survive it \(.*Segmentation fault\): on-failure {verb}")

    service.workers()
    after = service.position()
    for _ in range(5):
        opened = open_as(NOBODY, infected)
        assert (opened.error, opened.content) == answer
    # Its own open is one more, and what it then asks the guard another, or why it was refused.
    assert holdfast(service, "scan", infected).returncode == 2, "it could not be scanned"
    expect_protection(other, clean)
    status = service.status()
    assert status["counters"]["workers_lost"] == 2, "the pool is left alone"
    assert status["counters"]["poisoned"] == 6
    assert status["poison"]["files"] == 1
    (shown,) = status["poison"]["last"]
    assert shown["path"] == str(infected)
    assert "Segmentation fault" in shown["reason"]
    assert shown["answered"] == {"allow": 7, "deny": 6}[policy]
    decided = {"allow": {"allowed": 7, "denied": 0}, "deny": {"allowed": 0, "denied": 7}}[policy]
    assert status["policies"]["on-failure"] == decided
    assert service.match(r"workers do not survive", after) is None, "it is said once"
    text = holdfast(service, "status").stdout
    assert "poison      1 file(s)" in text and f"{infected}: its worker died" in text, text
    assert f"on-failure: {decided['allowed']} opens allowed, {decided['denied']} denied" in text, text


def test_poison_that_changes_is_scanned(place, volume, clean):
    service = start(place, volume, on_failure="allow")
    assert poison(place, service, clean).content == CLEAN
    service.workers()
    take_steps("root", *writing(clean, EICAR, "O_TRUNC"))
    assert open_as(NOBODY, clean).error == "EPERM"
    assert service.status()["poison"]["files"] == 0


def test_poison_is_tried_again_under_other_signatures(place, volume):
    path = volume.write("home/marked", MARKER)
    service = start(place, volume, on_failure="allow", signatures={"good.hdb": "0" * 32 + ":1:Good\n"})
    assert poison(place, service, path).content == MARKER
    service.workers()
    service.reload()
    assert open_as(NOBODY, path).content == MARKER, "the signatures are the same"
    assert service.status()["poison"]["files"] == 1
    service.write_signatures(MARKER_SIGNATURE)
    service.reload()
    assert open_as(NOBODY, path).error == "EPERM"
    assert service.status()["poison"]["files"] == 0


def test_who_kills_workers_does_not_have_malware_let_through(place, volume, infected, clean):
    service = start(place, volume, on_failure="allow", engine={"workers": 4})
    service.stop_workers(4)
    opener = open_held(place, infected)
    for n_lost in range(1, 4):
        lose_holder(service, n_lost, lambda _, pid: send_signal(pid, signal.SIGKILL))
        assert opener.is_held(), "that says nothing about the file"
    service.continue_workers()
    assert opener.opened().error == "EPERM"
    assert service.status()["poison"]["files"] == 0
    expect_protection(infected, clean)


def test_one_crash_among_killed_workers_is_none_too_many(place, volume, infected, clean):
    service = start(place, volume, on_failure="allow", engine={"workers": 4})
    service.stop_workers(4)
    opener = open_held(place, infected)
    lose_holder(service, 1, lambda _, pid: send_signal(pid, signal.SIGKILL))
    lose_holder(service, 2, crash)
    lose_holder(service, 3, lambda _, pid: send_signal(pid, signal.SIGKILL))
    service.continue_workers()
    assert opener.opened().error == "EPERM"
    assert service.status()["poison"]["files"] == 0
    expect_protection(infected, clean)
