# SPDX-License-Identifier: GPL-2.0-only
"""
A whole machine whose own filesystem is protected: PID 1, journald and rsyslogd wait in open() for holdfastd, who
writes to all three. Whatever is held, all of them go on.
"""
import re
import signal
import time

import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    create,
    expect_protection,
    open_all_as,
    open_as,
    open_held,
    send_signal,
    take_steps,
    wait_until,
    writing,
)
from machine import UNIT, Machine

pytestmark = pytest.mark.deadline(180)

FOUND = re.compile(r"(?:.* )?(/home/infected\S*): Eicar-Test-Signature\S* FOUND")
LOGROTATE = "/etc/logrotate.d/rsyslog"


@pytest.fixture
def boot(place):
    """Boots a machine, with a clean and an infected file in /home."""
    made = []

    def make(**options):
        machine = Machine(place, **options)
        made.append(machine)
        machine.clean = machine.volume.write("home/clean", CLEAN)
        machine.infected = machine.volume.write("home/infected", EICAR)
        return machine.boot().protect()

    yield make
    for machine in made:
        machine.close()


def found_in_journal(machine):
    return sorted(match[1] for line in machine.journal("-t", "holdfast") if (match := FOUND.fullmatch(line)))


def found_in_syslog(machine):
    """In what logrotate has put away and compressed too."""
    text = machine.run("/bin/sh", "-c", "zcat -f /var/log/syslog*")
    return sorted(match[1] for line in text.splitlines() if (match := FOUND.fullmatch(line)))


def stir(machine, number):
    """All that log daemons and PID 1 do to their files."""
    machine.run("logger", f"by syslog, {number}")
    machine.run("systemd-cat", "echo", f"by the journal, {number}")
    machine.run("journalctl", "--rotate")
    machine.run("journalctl", "--vacuum-time=1d")
    machine.run("logrotate", "--force", LOGROTATE)
    machine.run("systemctl", "restart", "systemd-journald")
    machine.run("systemctl", "restart", "rsyslog")
    # Files that nobody has seen yet, for PID 1 itself to read.
    create(machine.root / f"etc/systemd/system/stir{number}.service", b"[Service]\nExecStart=/bin/true\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", f"stir{number}")


def expect_lines(machine, paths, rounds):
    """Each FOUND line stands once in each log, and what others wrote is there."""
    wait_until(lambda: found_in_journal(machine) == paths, "each FOUND line stands once in the journal")
    wait_until(lambda: found_in_syslog(machine) == paths, "each FOUND line stands once in syslog")
    lines = machine.journal()
    for number in range(rounds):
        assert f"by syslog, {number}" in lines and f"by the journal, {number}" in lines


def test_logs_are_written_and_rotated_while_opens_are_held(boot):
    """Without any hold-timeout: who waited for what waits for us would wait until the end of the test."""
    machine = boot(hold_timeout="60m")
    opener = machine.hold(machine.place, machine.clean)
    paths = [machine.root / f"home/infected{number}" for number in range(3)]
    for number, path in enumerate(paths):
        create(path, EICAR)
        assert open_as(NOBODY, path).error == "EPERM"
        stir(machine, number)
    expect_lines(machine, [f"/home/{path.name}" for path in paths], len(paths))
    machine.run("journalctl", "--rotate")
    machine.run("journalctl", "--vacuum-files=1")
    assert opener.is_held()
    machine.continue_workers()
    assert opener.opened().content == CLEAN
    expect_protection(machine.infected, machine.clean)


def test_logs_are_written_and_rotated_while_no_open_gets_a_verdict(boot):
    """Everything that is opened waits for hold-timeout: by journald, rsyslogd and PID 1 too."""
    machine = boot(hold_timeout="500ms")
    paths = [machine.root / f"home/infected{number}" for number in range(2)]
    stir(machine, 0)  # now the programs are verified: without that there would be hundreds of opens to wait for
    for number, path in enumerate(paths):
        create(path, EICAR)
        machine.stop_workers()
        assert open_as(NOBODY, path).content == EICAR
        stir(machine, 1 + number)
        machine.continue_workers()
    expect_lines(machine, [f"/home/{path.name}" for path in paths], 1 + len(paths))
    expect_protection(machine.infected, machine.clean)


def is_journald_held(machine):
    return any("fanotify" in where for role, where in machine.waits() if role == "systemd-journald")


def test_no_open_waits_for_a_journald_that_waits_for_us(boot):
    """
    Its own file is with a worker that stands still, and its socket takes no more than 512 messages. The reporter
    has to wait; nobody else does, and no FOUND line is lost.
    """
    machine = boot(hold_timeout="60m", scan_ahead="no")
    paths = [machine.root / f"home/infected{number:03}" for number in range(700)]
    take_steps("root", *(step for path in paths for step in writing(path, EICAR, "O_CREAT")))
    stir(machine, 0)  # now the programs are verified
    machine.stop_workers()
    restart = machine.start("systemctl", "restart", "systemd-journald")
    wait_until(lambda: is_journald_held(machine), "journald waits for our answer")
    machine.continue_idle_workers()
    assert {error for error, _ in open_all_as(NOBODY, paths).values()} == {"EPERM"}
    time.sleep(4)  # longer than anybody's heart may stand still
    expect_protection(machine.infected, machine.clean)
    assert is_journald_held(machine)

    machine.continue_workers()
    assert machine.finish(restart).returncode == 0
    names = sorted(f"/home/{path.name}" for path in [*paths, machine.infected])
    wait_until(lambda: found_in_journal(machine) == names, "each FOUND line stands once in the journal")


def hold_pid_1(machine):
    """Has it read a file that no worker will pass. Returns the systemctl that waits for it."""
    machine.run("systemctl", "daemon-reload")  # what else it reads is verified by now
    directory = machine.root / f"etc/systemd/system/{UNIT}.d"
    take_steps("root", ("mkdir", directory), *writing(directory / "held.conf", b"[Unit]\n", "O_CREAT"))
    machine.stop_workers()
    reload = machine.start("systemctl", "daemon-reload")
    wait_until(machine.is_init_held, "PID 1 waits for our answer")
    machine.continue_idle_workers()
    return reload


def test_the_service_goes_on_while_pid_1_is_held(boot):
    """It reads neither what we notify it of nor the watchdog's signs of life."""
    machine = boot(hold_timeout="60m", watchdog="2s", scan_ahead="no")
    main_pid = machine.main_pid()
    held = hold_pid_1(machine)
    expect_protection(machine.infected, machine.clean)
    send_signal(machine.pids("holdfastd")[0], signal.SIGHUP)
    reloaded = re.compile("configuration and signatures reloaded")
    wait_until(lambda: any(map(reloaded.match, machine.journal("-t", "holdfast"))), "it has reloaded")
    time.sleep(3)  # longer than the watchdog would wait if PID 1 looked
    expect_protection(machine.infected, machine.clean)
    assert machine.is_init_held()

    machine.continue_workers()
    assert machine.finish(held).returncode == 0
    assert machine.main_pid() == main_pid, "the watchdog has taken what it could not hear for a hang"
    expect_protection(machine.infected, machine.clean)


def expect_another(machine, main_pid):
    wait_until(lambda: machine.main_pid() not in (0, main_pid), "systemd has started another")
    expect_protection(machine.infected, machine.clean)


KILL = ("kill", "--kill-who=main")


@pytest.mark.parametrize("order", [("restart",), (*KILL, "--signal=KILL"), (*KILL, "--signal=SEGV")], ids=" ".join)
def test_systemd_restarts_the_service_while_opens_are_held(boot, order):
    machine = boot(hold_timeout="60m")
    main_pid = machine.main_pid()
    machine.stop_workers()
    opener = open_held(machine.place, machine.clean)
    machine.run("systemctl", *order, UNIT)
    assert opener.opened().content == CLEAN
    expect_another(machine, main_pid)


@pytest.mark.parametrize("all_of_it", [False, True], ids=["the supervisor", "all of it"])
def test_the_watchdog_ends_a_service_that_stands_still(boot, all_of_it):
    """There is nobody else who could: if the guard stands still as well, every open hangs until then."""
    machine = boot(hold_timeout="60m", watchdog="2s")
    main_pid = machine.main_pid()
    roles = ("holdfastd", "guard", "engine", "report", "worker") if all_of_it else ("holdfastd",)
    for pid in [pid for role in roles for pid in machine.pids(role)]:
        send_signal(pid, signal.SIGSTOP)
    if all_of_it:
        opener = open_held(machine.place, machine.clean)
        assert opener.opened().content == CLEAN
    expect_another(machine, main_pid)
    assert any("Watchdog timeout" in line for line in machine.journal("-u", UNIT))


def test_the_machine_powers_off_while_opens_are_held(boot):
    machine = boot(hold_timeout="60m")
    opener = machine.hold(machine.place, machine.clean)
    machine.power_off()
    assert opener.opened().content == CLEAN
