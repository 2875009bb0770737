# SPDX-License-Identifier: GPL-2.0-only
"""
FOUND lines where administrators look for them: in a real rsyslogd and a real systemd-journald.

Both are started in a mount namespace with a /run and a /dev of its own, so that neither the machine's log nor its
/dev/log is touched. holdfastd is started there too; the openers are outside.
"""
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    TOKEN_VARIABLE,
    create,
    open_as,
    run,
    send_signal,
    wait_until,
)

JOURNALD = Path("/lib/systemd/systemd-journald")
DEVICES = ("null", "zero", "full", "random", "urandom")

# In the namespace, before anything runs: the directory $0 becomes /dev, with these devices, and /run is empty.
SET_UP = """
set -e
mount --make-rprivate /
mkdir "$0"
mount -t tmpfs -o mode=755 tmpfs "$0"
for device in "$@"; do touch "$0/$device"; mount --bind "/dev/$device" "$0/$device"; done
mount --rbind "$0" /dev
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal
echo ready
exec sleep infinity
"""

RSYSLOG_CONF = """
module(load="imuxsock" SysSock.Name="{socket}")
template(name="bare" type="string" string="%PRI% %syslogtag%%msg%\\n")
action(type="omfile" file="{output}" template="bare")
"""

JOURNALD_CONF = """
[Journal]
Storage=volatile
ForwardToSyslog={forward}
ReadKMsg=no
Audit=no
"""

LOGROTATE_CONF = """
{output} {{
    rotate 100
    compress
    missingok
    postrotate
        kill -HUP $(cat {pid})
    endscript
}}
"""

needs_logrotate = pytest.mark.skipif(not shutil.which("logrotate"), reason="no logrotate: install it")
needs_rsyslogd = pytest.mark.skipif(not shutil.which("rsyslogd"), reason="no rsyslogd: install rsyslog")
needs_journald = pytest.mark.skipif(
    not JOURNALD.exists() or not os.path.ismount("/sys/fs/cgroup"),
    reason=f"no {JOURNALD} (install systemd), or no control groups mounted, without which it does not start",
)

LOG_CRIT, LOG_DAEMON, LOG_LOCAL3 = 2, 3, 19


class Namespace:
    """A mount namespace, and the log daemons that run in it."""

    def __init__(self, place):
        self.place = place
        self.directory = place.base / "namespace"
        self.directory.mkdir()
        self.output = self.directory / "rsyslog.out"
        self.pid_file = self.directory / "rsyslog.pid"
        self.token = "namespace-" + place.base.name
        place.keeper.tell("token", self.token)
        self.daemons = []
        devices = self.directory / "dev"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "/bin/sh", "-c", SET_UP, devices, *DEVICES],
            stdout=subprocess.PIPE,
            env=self.environment(),
        )
        assert self.holder.stdout.readline() == b"ready\n", "the namespace could not be set up"

    def environment(self):
        return {**os.environ, TOKEN_VARIABLE: self.token}

    def command(self):
        """What to put before a command so that it runs in here."""
        # Its root too: the whole test may run in a chroot, and a namespace is entered at its own root.
        return ["nsenter", f"--target={self.holder.pid}", "--mount", "--root", "--wd=/", "--"]

    def run(self, *argv):
        return run(*self.command(), *argv)

    def write(self, path, text):
        run(*self.command(), "/bin/sh", "-c", 'printf %s "$1" >"$0"', path, text)

    def exists(self, path):
        return os.path.exists(f"/proc/{self.holder.pid}/root{path}")

    def start(self, *argv, until):
        daemon = subprocess.Popen(
            [*self.command(), *map(str, argv)],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.daemons.append(daemon)
        wait_until(lambda: until() or daemon.poll() is not None, f"{argv[0]} is ready")
        assert daemon.poll() is None, f"{argv[0]} ended with status {daemon.returncode}"

    def start_rsyslogd(self, socket="/dev/log"):
        conf = self.directory / "rsyslog.conf"
        conf.write_text(RSYSLOG_CONF.format(socket=socket, output=self.output))
        self.start(
            "rsyslogd", "-n", "-f", conf, "-i", self.pid_file, until=lambda: self.exists(socket)
        )

    def rotate(self):
        """Renames what rsyslogd has written, has it begin anew, and compresses the old file."""
        conf = self.directory / "logrotate.conf"
        conf.write_text(LOGROTATE_CONF.format(output=self.output, pid=self.pid_file))
        self.run("logrotate", "--force", "--state", self.directory / "logrotate.state", conf)

    def start_journald(self, forward=False, owns_dev_log=False):
        self.write("/run/systemd/journald.conf.d/test.conf", JOURNALD_CONF.format(forward="yes" if forward else "no"))
        self.start(JOURNALD, until=lambda: self.exists("/run/systemd/journal/dev-log"))
        if owns_dev_log:
            self.run("ln", "-s", "/run/systemd/journal/dev-log", "/dev/log")

    def syslog(self):
        """The lines of the service in rsyslogd's file: priority and text of each."""
        if not self.output.exists():
            return []
        lines = self.output.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        matches = (re.fullmatch(r"(\d+) holdfast(?:\[\d+\])?: ?(.*)", line) for line in lines)
        return [(int(match[1]), match[2]) for match in matches if match]

    def journal(self):
        """The entries of the service in the journal."""
        text = self.run("journalctl", "-D", "/run/log/journal", "-o", "json", "-a", "--no-pager", "-t", "holdfast")
        return [json.loads(line) for line in text.splitlines()]

    def close(self):
        for process in (*self.daemons, self.holder):
            process.send_signal(signal.SIGTERM)
        for process in (*self.daemons, self.holder):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def namespace(place, volume):
    """With the volume in it, which must be mounted before."""
    namespace = Namespace(place)
    yield namespace
    # What runs in there holds the volumes of the place.
    for service in place.services:
        service.finish()
    namespace.close()


def text_of(path):
    return rf"{re.escape(str(path))}: Eicar-Test-Signature[\w.-]* FOUND"


def found_in_syslog(namespace, path):
    return [line for line in namespace.syslog() if re.fullmatch(text_of(path), line[1])]


def found_in_journal(namespace, path):
    return [entry for entry in namespace.journal() if re.fullmatch(text_of(path), entry["MESSAGE"])]


def start(place, namespace, volume, **alerts):
    return place.start(
        include=volume / "home", alerts={"syslog": True, **alerts}, command=namespace.command()
    )


@pytest.fixture
def infected(volume):
    return volume.write("home/eicar", EICAR)


def settle(namespace, volume, *lines):
    """Opens one more, whose line is written after all others: what is doubled has come before it."""
    last = volume / "home/last"
    create(last, EICAR)
    assert open_as(NOBODY, last).error == "EPERM"
    for found in lines:
        wait_until(lambda found=found: found(namespace, last), "the last line has arrived")


@needs_rsyslogd
def test_found_stands_once_in_syslog(place, namespace, volume, infected):
    namespace.start_rsyslogd()
    clean = volume.write("home/clean", CLEAN)
    service = start(place, namespace, volume)
    assert open_as(NOBODY, infected).error == "EPERM"
    assert open_as(NOBODY, clean).content == CLEAN
    settle(namespace, volume, found_in_syslog)

    lines = found_in_syslog(namespace, infected)
    assert len(lines) == 1, f"not once: {lines}"
    assert lines[0][0] == LOG_DAEMON * 8 + LOG_CRIT
    assert not [text for _, text in namespace.syslog() if str(clean) in text]
    service.expect_found(infected)


@needs_rsyslogd
def test_the_facility_is_the_one_configured(place, namespace, volume, infected):
    namespace.start_rsyslogd()
    start(place, namespace, volume, facility="local3")
    assert open_as(NOBODY, infected).error == "EPERM"
    wait_until(lambda: found_in_syslog(namespace, infected), "the line has arrived")
    assert found_in_syslog(namespace, infected)[0][0] == LOG_LOCAL3 * 8 + LOG_CRIT


@needs_rsyslogd
def test_no_name_of_a_file_forges_a_line_in_syslog(place, namespace, volume):
    namespace.start_rsyslogd()
    name = b"a\n<34>Nov 22 00:00:00 host sshd[1]: forged\n\xff'\"\x1b[2J%s"
    path = volume.write("home/" + os.fsdecode(name), EICAR)
    start(place, namespace, volume)
    assert open_as(NOBODY, path).error == "EPERM"
    settle(namespace, volume, found_in_syslog)

    raw = namespace.output.read_bytes()
    (line,) = [line for line in raw.split(b"\n") if b"forged" in line]
    assert re.match(rb"\d+ holdfast\[\d+\]: ", line), f"forged: {line}"
    assert line.endswith(b" FOUND")
    assert re.fullmatch(rb"[\x20-\x7e]*", line), f"raw bytes in {line}"


@needs_rsyslogd
def test_nothing_goes_to_syslog_when_it_is_switched_off(place, namespace, volume, infected):
    namespace.start_rsyslogd()
    service = start(place, namespace, volume, syslog=False)
    assert open_as(NOBODY, infected).error == "EPERM"
    service.expect_found(infected)
    assert service.stop() == 0
    # By now the reporter has written all it ever will; a line of ours shows that rsyslogd has read it.
    namespace.run("logger", "-t", "holdfast", "the end")
    wait_until(lambda: namespace.syslog(), "rsyslogd has read everything")
    assert [text for _, text in namespace.syslog()] == ["the end"]


@needs_rsyslogd
def test_syslog_may_be_restarted(place, namespace, volume, infected):
    namespace.start_rsyslogd()
    start(place, namespace, volume)
    daemon = namespace.daemons.pop()
    daemon.terminate()
    daemon.wait(timeout=30)
    assert open_as(NOBODY, infected).error == "EPERM", "no open may wait for syslog"
    namespace.run("rm", "-f", "/dev/log")
    namespace.start_rsyslogd()
    settle(namespace, volume, found_in_syslog)


@needs_rsyslogd
def test_no_open_waits_for_a_syslog_that_hangs(place, namespace, volume):
    paths = [volume.write(f"home/{i}", EICAR) for i in range(100)]
    clean = volume.write("home/clean", CLEAN)
    namespace.start_rsyslogd()
    start(place, namespace, volume)
    daemon = namespace.daemons[-1]
    send_signal(daemon.pid, signal.SIGSTOP)
    try:
        for path in paths:
            assert open_as(NOBODY, path).error == "EPERM"
        assert open_as(NOBODY, clean).content == CLEAN
    finally:
        send_signal(daemon.pid, signal.SIGCONT)
    for path in paths:
        wait_until(lambda path=path: found_in_syslog(namespace, path), f"the line of {path} has arrived")


def logged(directory):
    """The lines in all files that rsyslogd has written, rotated ones too, read as one who may be held."""
    text = b""
    for path in directory.iterdir():
        content = open_as("root", path).content
        text += gzip.decompress(content) if path.suffix == ".gz" else content
    return text.decode("utf-8", "surrogateescape").splitlines()


def times_logged(directory, paths):
    lines = logged(directory)
    return {path: sum(bool(re.search(text_of(path) + "$", line)) for line in lines) for path in paths}


@pytest.fixture
def logs(namespace, volume):
    """A protected directory that rsyslogd writes to."""
    directory = volume.mkdir("home/logs")
    namespace.output = directory / "all"
    namespace.start_rsyslogd()
    return directory


@needs_rsyslogd
@needs_logrotate
def test_syslog_writes_and_rotates_in_a_protected_directory_while_an_open_is_held(place, namespace, volume, logs):
    """Without any hold-timeout: who waited for what waits for us would wait until the end of the test."""
    clean = volume.write("home/clean", CLEAN)
    service = place.start(
        include=volume / "home",
        hold_timeout="60m",
        scan_ahead=False,
        alerts={"syslog": True},
        command=namespace.command(),
    )
    opener = service.hold(place, clean)
    paths = [volume / f"home/{number}" for number in range(5)]
    for path in paths:
        create(path, EICAR)
        assert open_as(NOBODY, path).error == "EPERM"
        namespace.run("logger", f"beside {path}")
        namespace.rotate()
    wait_until(lambda: times_logged(logs, paths) == dict.fromkeys(paths, 1), "each line stands once in the logs")
    assert len(list(logs.iterdir())) > 2, "nothing was rotated"
    assert opener.is_held()
    service.continue_workers()
    assert opener.opened().content == CLEAN


@needs_rsyslogd
@needs_logrotate
def test_syslog_writes_and_rotates_in_a_protected_directory_while_no_open_gets_a_verdict(
    place, namespace, volume, logs
):
    """What it opens waits for hold-timeout, as everything does."""
    service = place.start(
        include=volume / "home",
        hold_timeout="1s",
        scan_ahead=False,
        alerts={"syslog": True},
        command=namespace.command(),
    )
    paths = [volume / f"home/{number}" for number in range(3)]
    for path in paths:
        create(path, EICAR)
        service.stop_workers()
        assert open_as(NOBODY, path).content == EICAR
        namespace.rotate()
        service.continue_workers()
    service.disturbed = True
    wait_until(lambda: times_logged(logs, paths) == dict.fromkeys(paths, 1), "each line stands once in the logs")


@needs_rsyslogd
def test_no_open_waits_for_a_syslog_that_waits_for_us(place, namespace, volume, logs):
    """Its log file is with a worker that stands still, and what we tell it must wait."""
    paths = [volume.write(f"home/{number}", EICAR) for number in range(100)]
    clean = volume.write("home/clean", CLEAN)
    namespace.run("logger", "so that there is something to scan")
    service = place.start(
        include=volume / "home", hold_timeout="60m", alerts={"syslog": True}, command=namespace.command()
    )
    wait_until(lambda: logged(logs), "it has written")
    service.stop_workers()
    namespace.run("/bin/sh", "-c", f"kill -HUP $(cat {namespace.pid_file})")
    namespace.run("logger", "so that it opens its file")
    service.continue_idle_workers()
    for path in paths:
        assert open_as(NOBODY, path).error == "EPERM"
    assert open_as(NOBODY, clean).content == CLEAN
    service.continue_workers()
    wait_until(lambda: times_logged(logs, paths) == dict.fromkeys(paths, 1), "each line stands once in the log")


@needs_journald
def test_found_stands_once_in_the_journal_with_its_fields(place, namespace, volume, infected):
    namespace.start_journald(owns_dev_log=True)
    start(place, namespace, volume)
    assert open_as(NOBODY, infected).error == "EPERM"
    settle(namespace, volume, found_in_journal)

    entries = found_in_journal(namespace, infected)
    assert len(entries) == 1, f"not once: {entries}"
    entry = entries[0]
    assert entry["_TRANSPORT"] == "journal"
    assert entry["PRIORITY"] == str(LOG_CRIT)
    assert entry["SYSLOG_FACILITY"] == str(LOG_DAEMON)
    assert entry["HOLDFAST_PATH"] == str(infected)
    assert entry["HOLDFAST_SIGNATURE"].startswith("Eicar-Test-Signature")
    assert entry["HOLDFAST_ANSWER"] == "blocked"
    assert entry["HOLDFAST_OPENER_UID"] == run("id", "-u", NOBODY).strip()
    assert re.fullmatch(r"[0-9a-f]{32}", entry["MESSAGE_ID"])


@needs_journald
def test_no_name_of_a_file_forges_an_entry_in_the_journal(place, namespace, volume):
    namespace.start_journald(owns_dev_log=True)
    name = "a\nPRIORITY=0\nMESSAGE=forged\n"
    path = volume.write("home/" + name, EICAR)
    start(place, namespace, volume)
    assert open_as(NOBODY, path).error == "EPERM"
    settle(namespace, volume, found_in_journal)

    entries = [entry for entry in namespace.journal() if "forged" in str(entry)]
    assert len(entries) == 1, f"one finding made these: {entries}"
    assert entries[0]["PRIORITY"] == str(LOG_CRIT)
    assert "\n" not in entries[0]["MESSAGE"]
    assert entries[0]["MESSAGE"].endswith(" FOUND")
    assert entries[0]["HOLDFAST_PATH"] == str(path), "the field holds the path as it is"


@needs_rsyslogd
@needs_journald
def test_where_journald_feeds_rsyslog_the_line_stands_once_in_each(place, namespace, volume, infected):
    """As Debian sets it up: /dev/log is journald's, and rsyslogd reads what journald forwards."""
    namespace.start_rsyslogd(socket="/run/systemd/journal/syslog")
    namespace.start_journald(forward=True, owns_dev_log=True)
    start(place, namespace, volume)
    assert open_as(NOBODY, infected).error == "EPERM"
    settle(namespace, volume, found_in_syslog, found_in_journal)

    assert len(found_in_journal(namespace, infected)) == 1
    assert len(found_in_syslog(namespace, infected)) == 1
    assert found_in_syslog(namespace, infected)[0][0] == LOG_DAEMON * 8 + LOG_CRIT


@needs_rsyslogd
@needs_journald
def test_where_each_has_a_socket_of_its_own_the_line_stands_once_in_each(place, namespace, volume, infected):
    """/dev/log is rsyslogd's own, and journald forwards nothing."""
    namespace.start_rsyslogd()
    namespace.start_journald()
    start(place, namespace, volume)
    assert open_as(NOBODY, infected).error == "EPERM"
    settle(namespace, volume, found_in_syslog, found_in_journal)

    assert len(found_in_journal(namespace, infected)) == 1
    assert len(found_in_syslog(namespace, infected)) == 1


def test_without_any_log_daemon_the_log_file_has_the_line(place, namespace, volume, infected):
    service = start(place, namespace, volume)
    assert open_as(NOBODY, infected).error == "EPERM"
    service.expect_found(infected)
