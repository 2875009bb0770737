# SPDX-License-Identifier: GPL-2.0-only
"""
Whatever ends, or hangs, in the middle of its work: every open is answered, protection comes back by itself and
the log says what happened.
"""
import shutil
import signal

import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    PATIENCE,
    expect_protection,
    open_as,
    open_held,
    program,
    read_process,
    send_signal,
    take_steps,
    wait_until,
    writing,
)

# A sanitizer would make a report of the signals that are sent here.
PLAIN_SIGNALS = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:handle_segv=0:handle_abort=0"}

ANSWERS = {"allow": (None, EICAR), "deny": ("EPERM", b"")}
BOTH_ANSWERS = pytest.mark.parametrize("policy, answer", ANSWERS.items(), ids=ANSWERS.keys())


def start(place, volume, **options):
    return place.start(include=volume / "home", environment=PLAIN_SIGNALS, **options)


def crash(service, worker):
    """Ends a worker that stands still as a bug of its own would."""
    send_signal(worker, signal.SIGSEGV)
    service.continue_workers(worker)


# --- a worker --------------------------------------------------------------------------------------------------


def test_a_worker_that_crashes_is_replaced_and_the_file_scanned_again(place, volume, infected, clean):
    service = start(place, volume, engine={"workers": 1})
    (worker,) = service.stop_workers(1)
    openers = {path: open_held(place, path) for path in (infected, clean)}
    service.disturbed = True
    crash(service, worker)

    assert openers[infected].opened().error == "EPERM"
    assert openers[clean].opened().content == CLEAN
    service.expect(rf"worker {worker} was ended by Segmentation fault")
    service.expect_found(infected)
    assert service.workers(1) != [worker]
    assert len(service.found()) == 1
    assert service.status()["counters"]["workers_lost"] == 1
    expect_protection(infected, clean)


def test_a_worker_that_crashes_at_work_is_replaced(place, volume, infected, clean):
    """Not one that stands still but one in the middle of libclamav."""
    large = volume.write("home/large", b"\0" + bytes(range(256)) * (80 << 12))
    service = start(place, volume, engine={"workers": 1})
    (worker,) = service.workers(1)
    opener = open_held(place, large)
    wait_until(lambda: service.status()["workers"]["busy"] == 1, "the worker is busy")
    service.signal("worker", signal.SIGSEGV)
    assert opener.opened().error is None
    service.expect(rf"worker {worker} was ended by Segmentation fault")
    expect_protection(infected, clean)


@BOTH_ANSWERS
def test_a_file_that_crashes_two_workers_is_answered_by_on_failure(place, volume, infected, clean, policy, answer):
    volume.write("home/other", EICAR)
    service = start(place, volume, on_failure=policy)
    workers = service.stop_workers()
    opener = open_held(place, infected)
    service.disturbed = True
    for n_lost in (1, 2):
        # The other one, which stands still too, is given it when the loss of the first has been noticed.
        crash(service, service.holder())
        wait_until(
            lambda n=n_lost: service.status()["counters"]["workers_lost"] == n, "the guard has noticed"
        )
        assert n_lost == 2 or opener.is_held(), "one crash is no reason to give up"
    assert not set(workers) & set(service.pids("worker"))
    opened = opener.opened()
    assert (opened.error, opened.content) == answer
    decided = {"allow": "allowed", "deny": "denied"}[policy]
    service.expect(rf"eicar: not verified \(its worker died: Segmentation fault\), {decided}")
    expect_protection(volume / "home/other", clean)


@BOTH_ANSWERS
def test_workers_that_hang_do_not_hold_an_open_beyond_hold_timeout(place, volume, infected, clean, policy, answer):
    other = volume.write("home/other", EICAR)
    service = start(
        place, volume, hold_timeout="1s", on_timeout=policy, engine={"workers": 2, "max-scan-time": "1s"}
    )
    stopped = service.stop_workers()
    opener = open_held(place, infected)
    service.disturbed = True
    opened = opener.opened()
    assert (opened.error, opened.content) == answer
    service.expect(r"eicar: not verified \(no verdict within hold-timeout\)")
    assert service.status()["counters"]["timeouts"] == 1

    # The one that has the file is replaced at the deadline of the scan, and its file scanned by another. All stand
    # still here, so the second is given it, and has to be replaced too.
    wait_until(lambda: not set(service.pids("worker")) & set(stopped), "the workers that hang have been replaced")
    service.expect(r"worker \d+ was ended by Killed")
    service.workers()
    expect_protection(other, clean)


def test_a_verdict_that_comes_late_is_told_and_refuses_the_next_open(place, volume, infected, clean):
    service = start(place, volume, hold_timeout="500ms", on_timeout="allow")
    service.stop_workers()
    assert open_as(NOBODY, infected).content == EICAR
    service.disturbed = True
    assert not service.found()
    service.continue_workers()
    service.expect_found(infected)
    service.expect(r"was opened before its verdict came")
    expect_protection(infected, clean)


def test_opens_that_wait_for_a_free_worker_are_answered_at_hold_timeout_too(place, volume):
    paths = [volume.write(f"home/{i}", b"%d" % i) for i in range(10)]
    service = start(place, volume, hold_timeout="1s", on_timeout="deny", engine={"workers": 1})
    service.stop_workers(1)
    openers = [open_held(place, path) for path in paths]
    service.disturbed = True
    assert [opener.opened().error for opener in openers] == ["EPERM"] * len(openers)
    service.continue_workers()
    for path in paths:
        assert open_as(NOBODY, path).error is None


# --- the engine ------------------------------------------------------------------------------------------------


def test_the_engine_that_is_killed_is_replaced_while_its_workers_go_on(place, volume, infected, clean):
    service = start(place, volume)
    service.stop_workers()
    openers = {path: open_held(place, path) for path in (infected, clean)}
    (engine,) = service.signal("engine", signal.SIGKILL)
    wait_until(lambda: read_process(engine) is None, "the engine is gone")
    service.continue_workers()

    assert openers[infected].opened().error == "EPERM"
    assert openers[clean].opened().content == CLEAN
    service.expect(rf"holdfast-engine \(pid {engine}\) was ended by Killed")
    wait_until(lambda: service.pids("engine") not in ([], [engine]), "there is a new engine")
    service.workers()
    assert service.found() == [(str(infected), service.found()[0][1])]
    assert service.status()["restarts"]["engine"] == 1
    expect_protection(infected, clean)


def test_the_engine_that_is_killed_with_all_its_workers_is_replaced(place, volume, infected, clean):
    service = start(place, volume)
    workers = service.stop_workers()
    openers = {path: open_held(place, path) for path in (infected, clean)}
    (engine,) = service.signal("engine", signal.SIGKILL)
    for worker in workers:
        send_signal(worker, signal.SIGKILL)

    # None may be let through for it: one attempt of two was lost.
    assert openers[infected].opened().error == "EPERM"
    assert openers[clean].opened().content == CLEAN
    service.expect(rf"holdfast-engine \(pid {engine}\) was ended by Killed")
    service.workers()
    expect_protection(infected, clean)


@BOTH_ANSWERS
def test_when_no_engine_can_be_started_opens_are_answered_by_on_failure(
    place, volume, infected, clean, policy, answer
):
    """And when one can be started again, nobody needs to do anything."""
    service = start(place, volume, on_failure=policy, signatures={"good.hdb": "0" * 32 + ":1:Good\n"})
    service.write_signatures({"bad.ndb": "this is no signature\n"})
    workers = service.workers()
    service.signal("engine", signal.SIGKILL)
    for worker in workers:
        send_signal(worker, signal.SIGKILL)

    opened = open_as(NOBODY, infected)
    assert (opened.error, opened.content) == answer
    service.expect(r"cannot load .*signatures")
    service.expect(r"holdfast-engine keeps failing: the next start is in \d+ s")
    status = service.status()
    assert status["engine_down"] and not status["protecting"], status

    (service.signatures / "bad.ndb").unlink()
    service.workers()
    expect_protection(infected, clean)
    assert service.status()["protecting"]


def test_an_engine_that_keeps_being_killed_hangs_nobody(place, volume, infected, clean):
    service = start(place, volume)
    for _ in range(6):
        for role in ("engine", "worker"):
            service.signal(role, signal.SIGKILL)
        open_as(NOBODY, infected)
        assert open_as(NOBODY, clean).content == CLEAN
        wait_until(
            lambda: service.pids("engine") or service.match("keeps failing"), "there is an engine or will be later"
        )
    expect_protection(infected, clean)


# --- the guard -------------------------------------------------------------------------------------------------


def expect_new_guard(service, old, after=0):
    """Waits for it, and returns the gap that the log tells of."""
    gap = service.expect(r"a new guard is protecting again: there was no protection for (\d+) ms", after)
    assert service.pid("guard") != old
    # What counts is that it is there at once; a busy machine may need a while all the same.
    assert int(gap[1]) < 5000, f"the gap was {gap[1]} ms"
    return int(gap[1])


def test_when_all_guards_are_killed_at_once_opens_are_let_go_and_others_come(place, volume, infected, clean):
    service = start(place, volume)
    service.stop_workers()
    openers = [open_held(place, path) for path in (infected, clean)]
    guard = service.lose_family()
    assert [opener.opened().content for opener in openers] == [EICAR, CLEAN], "held opens are let go"

    service.expect(r"the guard is gone: opens that were held are let go, files are not protected")
    gap = expect_new_guard(service, guard)
    status = service.status()
    assert status["restarts"]["guard"] == status["restarts"]["gaps"] == 1
    assert status["restarts"]["last_gap_us"] // 1000 == gap
    expect_protection(infected, clean)
    service.expect_found(infected)


def test_what_was_verified_before_all_guards_were_lost_is_verified_again(place, volume, clean):
    """A new guard knows nothing of what was written while there was none."""
    service = start(place, volume)
    assert open_as(NOBODY, clean).content == CLEAN
    guard = service.lose_family()
    take_steps("root", *writing(clean, EICAR, "O_TRUNC"))
    expect_new_guard(service, guard)
    assert open_as(NOBODY, clean).error == "EPERM"


# --- the reporter ----------------------------------------------------------------------------------------------


def test_the_reporter_that_is_killed_is_replaced(place, volume, infected, clean):
    service = start(place, volume)
    (reporter,) = service.signal("report", signal.SIGKILL)
    wait_until(lambda: service.pids("report") not in ([], [reporter]), "there is a new reporter")
    expect_protection(infected, clean)
    service.expect_found(infected)
    service.expect(rf"holdfast-report \(pid {reporter}\) was ended by Killed")
    assert service.status()["restarts"]["reporter"] == 1


def test_malware_found_while_there_is_no_reporter_is_reported(place, volume, infected):
    service = start(place, volume)
    service.signal("report", signal.SIGKILL)
    assert open_as(NOBODY, infected).error == "EPERM"
    service.expect_found(infected)


def test_no_open_waits_for_the_reporter(place, volume, clean):
    names = [volume.write(f"home/{i}", EICAR) for i in range(50)]
    service = start(place, volume)
    service.signal("report", signal.SIGSTOP)
    for path in names:
        assert open_as(NOBODY, path).error == "EPERM"
    assert open_as(NOBODY, clean).content == CLEAN
    service.signal("report", signal.SIGCONT)
    for path in names:
        service.expect_found(path)


# --- the supervisor --------------------------------------------------------------------------------------------


def test_when_the_supervisor_is_killed_everything_ends_and_nobody_is_held(place, volume, infected, clean):
    service = start(place, volume)
    service.stop_workers()
    openers = [open_held(place, path) for path in (infected, clean)]
    service.signal("holdfastd", signal.SIGKILL)
    assert [opener.opened().error for opener in openers] == [None, None]
    service.continue_workers()
    wait_until(lambda: service.process.poll() is not None and not service.processes(), "all processes have ended", 10)
    assert open_as(NOBODY, infected).content == EICAR

    # What it has left, its socket above all, does not keep the next from starting.
    service.process.wait()
    service.start()
    expect_protection(infected, clean)


def test_a_guard_that_hangs_does_not_outlive_the_supervisor(place, volume, clean):
    """There would be nobody left to kill it."""
    service = start(place, volume)
    service.freeze(service.pid("guard"))
    opener = open_held(place, clean)
    service.signal("holdfastd", signal.SIGKILL)
    assert opener.opened().content == CLEAN
    wait_until(lambda: service.process.poll() is not None and not service.processes(), "all processes have ended", 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_ends_when_told_to_and_lets_everyone_go(place, volume, infected, clean, number):
    service = start(place, volume)
    service.stop_workers()
    openers = [open_held(place, path) for path in (infected, clean)]
    # A worker that stands still cannot end by itself.
    send_signal(service.process.pid, number)
    assert [opener.opened().error for opener in openers] == [None, None]
    service.continue_workers()
    assert service.process.wait(timeout=PATIENCE) == 0
    wait_until(lambda: service.process.poll() is not None and not service.processes(), "all processes have ended")
    service.expect(r"stopping: files are no longer protected")
    assert open_as(NOBODY, infected).content == EICAR


def test_it_ends_when_told_to_although_workers_hang(place, volume, clean):
    service = start(place, volume)
    service.stop_workers()
    opener = open_held(place, clean)
    service.disturbed = True
    assert service.stop() == 0
    assert opener.opened().content == CLEAN
    wait_until(lambda: service.process.poll() is not None and not service.processes(), "all processes have ended")


def test_a_second_service_with_the_same_run_dir_refuses_to_start(place, volume, infected, clean):
    first = start(place, volume)
    second = place.service(include=volume / "home", run_dir=first.run_dir)
    assert second.launch_to_end() == 1
    assert "another holdfastd is running" in second.errors()
    assert not second.processes()
    expect_protection(infected, clean)
    assert first.status()["protecting"]


def test_two_services_with_run_dirs_of_their_own_stand_side_by_side(place, volume, infected, clean):
    """Each holds the opens of the other's processes, and must not wait for its own answer."""
    services = [start(place, volume), start(place, volume)]
    expect_protection(infected, clean)
    services[0].reload()
    services[1].reload()
    expect_protection(infected, clean)
    assert services[0].stop() == 0
    expect_protection(infected, clean)


# --- what the service itself opens -----------------------------------------------------------------------------


def test_a_reload_does_not_wait_for_itself(place, volume, infected, clean):
    """The configuration is protected too, and no worker can be asked about it."""
    service = place.service(include=volume / "home", hold_timeout="60m")
    service.config = volume / "home/holdfast.conf"
    service.write_config()
    service.start()
    service.stop_workers()
    service.reload()
    service.continue_workers()
    expect_protection(infected, clean)


@pytest.mark.parametrize("role", ["engine", "guard", "report"])
def test_programs_that_are_protected_themselves_can_be_restarted(place, volume, infected, clean, role):
    """Where all of the system is protected the service is too: nothing of it may wait for a worker to start."""
    programs = volume / "home/programs"
    programs.mkdir()
    for name in ("holdfastd", "holdfast-guard", "holdfast-engine", "holdfast-report"):
        shutil.copy(program(name), programs)
    service = start(place, volume, hold_timeout="60m", programs=programs)
    (old,) = service.signal(role, signal.SIGKILL)
    for worker in service.pids("worker"):
        send_signal(worker, signal.SIGKILL)
    wait_until(lambda: service.pids(role) not in ([], [old]), f"there is a new {role}")
    expect_protection(infected, clean)
    service.expect_found(infected)
