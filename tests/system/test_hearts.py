# SPDX-License-Identifier: GPL-2.0-only
"""
What stands still, or waits for somebody else: nobody who opens a file notices, and no finding is lost.
"""
import re
import signal
import subprocess
import sys

import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    create,
    open_all_as,
    open_as,
    open_held,
    send_signal,
    wait_until,
)
from test_syslog import Namespace

N_FOUND = 700  # more than the reporter takes, so that some wait in the guard

# In a namespace with a /dev of its own.
LOG_DAEMON = """
import os, socket, sys
daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
daemon.bind("/dev/log")
os.chmod("/dev/log", 0o666)
print("ready", flush=True)
sys.stdin.readline()
while True:
    sys.stdout.buffer.write(daemon.recv(65536) + b"\\n")
    sys.stdout.flush()
"""


class LogDaemon:
    """Reads nothing until it is told to."""

    def __init__(self, namespace):
        self.process = subprocess.Popen(
            [*namespace.command(), sys.executable, "-c", LOG_DAEMON], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout.readline() == b"ready\n"

    def read(self, last):
        """Lets it read, and returns the texts of the lines until one matches."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        texts = []
        while not texts or not re.search(last, texts[-1]):
            line = self.process.stdout.readline().decode()
            assert line, "the log daemon has ended"
            texts.append(re.sub(r"^<\d+>.*? holdfast(\[\d+\])?: ", "", line).rstrip("\n"))
        return texts

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def namespace(place, volume):
    """With the volume in it, which must be mounted before."""
    namespace = Namespace(place)
    yield namespace
    for service in place.services:
        service.finish()
    namespace.close()


@pytest.fixture
def log_daemon(namespace):
    daemon = LogDaemon(namespace)
    yield daemon
    daemon.close()


def test_no_finding_is_lost_while_the_log_daemon_reads_nothing(place, volume, clean, namespace, log_daemon):
    paths = [volume.write(f"home/{i:03}", EICAR + b"%d" % i) for i in range(N_FOUND)]
    service = place.start(include=volume / "home", alerts={"syslog": True}, command=namespace.command())
    reporter = service.pid("report")
    answers = open_all_as(NOBODY, paths)
    assert {error for error, _ in answers.values()} == {"EPERM"}
    assert open_as(NOBODY, clean).content == CLEAN
    assert len(service.found()) < N_FOUND, "the log file is written behind the log daemon"
    # Questions of the supervisor are answered all the while, or there would be another by now.
    assert service.pid("report") == reporter

    lines = log_daemon.read(rf"{re.escape(str(paths[-1]))}: \S+ FOUND")
    found = [match[1] for line in lines if (match := re.fullmatch(r"(.*): \S+ FOUND", line))]
    assert found == [str(path) for path in paths], "in order, and all of them"
    assert not [line for line in lines if "were dropped" in line]
    service.expect_found(paths[-1])
    assert [path for path, _ in service.found()] == found
    assert service.status()["counters"]["alerts_dropped"] == 0


def test_it_ends_although_the_log_daemon_reads_nothing(place, volume, namespace, log_daemon):
    paths = [volume.write(f"home/{i:03}", EICAR + b"%d" % i) for i in range(20)]
    service = place.start(include=volume / "home", alerts={"syslog": True}, command=namespace.command())
    open_all_as(NOBODY, paths)
    assert service.stop() == 0
    wait_until(lambda: service.process.poll() is not None and not service.processes(), "all processes have ended")


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN])
def test_a_worker_that_is_stopped_holds_nobody(place, volume, infected, clean, number):
    """Whatever stops it: another has its file, long before any deadline."""
    service = place.start(
        include=volume / "home",
        hold_timeout="60m",
        engine={"workers": 2, "max-scan-time": "60m"},
        on_timeout="deny",
        on_failure="deny",
    )
    service.stop_workers()  # in a way that the engine is not told of
    openers = {path: open_held(place, path) for path in (infected, clean)}
    stopped = service.workers()
    for pid in stopped:
        send_signal(pid, number)
    service.disturbed = True
    service.continue_workers()
    assert openers[infected].opened().error == "EPERM"
    assert openers[clean].opened().content == CLEAN
    for pid in stopped:
        service.expect(rf"worker {pid} was stopped: it is killed")
    service.workers()
    assert not service.match("was ended by"), "one line for each is enough"
    assert service.status()["counters"]["timeouts"] == 0
    service.expect_found(infected)


def test_no_open_waits_for_an_engine_that_is_stopped(place, volume, infected, clean):
    """Workers and the guard need it only when a worker is lost."""
    service = place.start(include=volume / "home", hold_timeout="60m", on_failure="deny")
    (engine,) = service.signal("engine", signal.SIGSTOP)
    try:
        for i in range(50):
            bad, good = volume / f"home/bad{i}", volume / f"home/good{i}"
            create(bad, EICAR + b"%d" % i)
            create(good, b"%d" % i)
            assert open_as(NOBODY, bad).error == "EPERM"
            assert open_as(NOBODY, good).content == b"%d" % i
    finally:
        send_signal(engine, signal.SIGCONT)
    assert open_as(NOBODY, infected).error == "EPERM"
    assert open_as(NOBODY, clean).content == CLEAN
