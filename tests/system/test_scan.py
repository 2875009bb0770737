# SPDX-License-Identifier: GPL-2.0-only
"""Scans on demand: what whoever calls 'holdfast scan' is told, and what may come over its socket."""
import contextlib
import functools
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import namedtuple

import pytest
from harness import (
    CLEAN,
    EICAR,
    MARKER,
    MARKER_SIGNATURE,
    NOBODY,
    PATIENCE,
    REPOSITORY,
    finish_holdfast,
    has_unread,
    holdfast,
    open_as,
    read_process,
    read_status,
    send_signal,
    start_holdfast,
    wait_until,
)

FINE, INFECTED, ERROR = 0, 1, 2


@pytest.fixture
def service(place):
    """A service that protects something else than the volume, which the test may change as it likes."""
    return place.start(include=place.volume().path, signatures=MARKER_SIGNATURE)


def scan(service, *words, user="root", **options):
    return holdfast(service, "scan", *words, user=user, **options)


def scan_json(service, *words, **options):
    """The objects: of what was found and so on, and the summary."""
    done = holdfast(service, "--json", "scan", *words, **options)
    *objects, summary = map(json.loads, done.stdout.splitlines())
    assert summary["type"] == "summary" and summary["exit_code"] == done.returncode
    return objects, summary


def lines_of(done):
    """Without the summary."""
    return done.stdout.split("\n----------- SCAN SUMMARY")[0].splitlines()


def summary_of(done):
    text = done.stdout.split("----------- SCAN SUMMARY -----------\n")[1]
    return dict(re.split(r": +", line, maxsplit=1) for line in text.splitlines() if ": " in line)


def paths(objects, kind):
    return sorted(entry["path"] for entry in objects if entry["type"] == kind)


# --- what is told ----------------------------------------------------------------------------------------------


def test_exit_codes_and_lines(service, volume):
    clean = volume.write("clean", CLEAN)
    bad = volume.write("bad", EICAR)
    done = scan(service, clean)
    assert (done.returncode, lines_of(done), done.stderr) == (FINE, [], "")
    done = scan(service, volume.path)
    assert done.returncode == INFECTED and done.stderr == ""
    (line,) = lines_of(done)
    assert re.fullmatch(rf"{bad}: \S+ FOUND", line)
    done = scan(service, volume / "missing")
    assert done.returncode == ERROR and f"{volume / 'missing'}: " in done.stderr and "No such file" in done.stderr
    assert scan(service, volume / "missing", bad).returncode == INFECTED, "what was found counts most"
    done = scan(service, "--verbose", volume.path)
    assert f"{clean}: OK" in lines_of(done)
    done = scan(service, "--no-summary", volume.path)
    assert done.stdout == line + "\n"
    service.expect_found(bad)
    assert not service.match(r"/clean")


def test_the_summary_has_the_fields_that_people_know(service, volume):
    volume.write("d/clean", bytes(1 << 20))
    volume.write("bad", EICAR)
    summary = summary_of(scan(service, volume.path))
    for key, value in {
        "Known viruses": "2",
        "Scanned directories": "2",
        "Scanned files": "2",
        "Infected files": "1",
    }.items():
        assert summary[key] == value, summary
    assert re.fullmatch(r"1\.00 MB \(ratio \d\.\d\d:1\)", summary["Data read"]), summary
    for key in ("Engine version", "Data scanned", "Time", "Start Date", "End Date"):
        assert summary[key], summary
    objects, summary = scan_json(service, "--verbose", volume.path)
    assert paths(objects, "found") == [str(volume / "bad")] and paths(objects, "clean") == [str(volume / "d/clean")]
    assert (summary["files"], summary["directories"], summary["infected"], summary["signatures"]) == (2, 2, 1, 2)


def test_names_of_any_bytes_forge_nothing(service, volume):
    forged = volume / b"a\n/etc/passwd: Fake FOUND\xff"
    forged.parent.mkdir(parents=True)
    forged.write_bytes(EICAR)
    forged.with_name("clean").write_bytes(CLEAN)
    for words in (["--verbose"], ["--verbose", "--json"]):
        done = scan(service, *words, volume.path)
        assert "\\x0a/etc/passwd: Fake FOUND" in done.stdout and "\udcff" not in done.stdout
        assert not [line for line in done.stdout.splitlines() if line.startswith("/etc")]
    assert not service.match("^/etc")


def test_what_is_no_file_is_not_opened(service, volume):
    """A FIFO would wait for a writer, a device do who knows what."""
    volume.write("bad", EICAR)
    os.mkfifo(volume / "fifo")
    os.mknod(volume / "device", 0o600 | 0o020000, os.makedev(1, 8))
    os.symlink("bad", volume / "link")
    os.symlink("/", volume / "root")
    os.link(volume / "bad", volume / "again")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(volume / "socket"))
        objects, summary = scan_json(service, volume.path)
    assert summary["skipped"] == {"special": 3, "symlink": 2, "link": 1}
    assert (summary["files"], summary["infected"], len(paths(objects, "found"))) == (1, 1, 1)
    done = scan(service, volume / "fifo")
    assert done.returncode == ERROR and "skipped (special)" in done.stdout
    # A link that is named is followed: it was meant.
    done = scan(service, volume / "link")
    assert done.returncode == INFECTED and f"{volume / 'bad'}: " in done.stdout


@pytest.mark.parametrize("action", ["copy", "move", "delete"])
def test_an_action_that_does_not_exist_is_refused(service, volume, action):
    bad = volume.write("bad", EICAR)
    done = scan(service, "--action", action, volume.path)
    assert (done.returncode, done.stdout) == (ERROR, "") and "--action" in done.stderr
    assert bad.read_bytes() == EICAR
    assert scan(service, "--action", "none", volume.path).returncode == INFECTED


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--full", "{}"],
        ["--wait", "{}"],
        ["--stop", "{}"],
        ["--full", "--stop", "--all"],
        ["--full", "--standalone"],
        ["--database", "/", "{}"],
        ["--threads", "0", "{}"],
        ["--cross-filesystems=maybe", "{}"],
        ["--frob", "{}"],
    ],
)
def test_wrong_calls_are_errors_and_scan_nothing(service, volume, words):
    volume.write("clean", CLEAN)
    done = scan(service, *(word.format(volume.path) for word in words))
    assert (done.returncode, done.stdout) == (ERROR, "") and done.stderr
    assert service.status()["full_scan"]["state"] == "idle" and "last" not in service.status()["full_scan"]


def test_without_a_service_it_says_what_to_do(place, volume):
    done = scan(place.service(include=volume.path), volume.path)
    assert (done.returncode, done.stdout) == (ERROR, "")
    assert "holdfastd is not running" in done.stderr and "--standalone" in done.stderr
    done = scan(place.service(include=volume.path), "--full")
    assert done.returncode == ERROR and "holdfastd is not running" in done.stderr


# --- with whose rights -----------------------------------------------------------------------------------------


def test_nobody_learns_about_files_that_he_cannot_read(service, volume):
    volume.write("mine/bad", EICAR)
    volume.write("secret", EICAR, mode=0o600)
    volume.write("locked/bad", EICAR)
    (volume / "locked").chmod(0o700)
    (volume / "mine").chmod(0o755)
    objects, summary = scan_json(service, volume.path, user=NOBODY)
    assert paths(objects, "found") == [str(volume / "mine/bad")]
    assert paths(objects, "error") == [str(volume / "locked"), str(volume / "secret")], "each once"
    assert (summary["errors"], summary["files"], summary["exit_code"]) == (2, 1, INFECTED)
    done = scan(service, volume / "secret", user=NOBODY)
    assert done.returncode == ERROR and "Permission denied" in done.stderr
    assert "FOUND" not in done.stdout + done.stderr
    # That it is known changes nothing.
    assert scan(service, volume.path).returncode == INFECTED
    assert "FOUND" not in scan(service, volume / "secret", user=NOBODY).stdout
    assert scan(service, "/proc/self/mem", user=NOBODY).returncode == ERROR


@pytest.mark.parametrize("user", ["root", NOBODY])
def test_malware_in_a_protected_directory_is_found_though_its_open_is_refused(place, volume, user):
    bad = volume.write("home/bad", EICAR)
    hidden = volume.write("home/hidden", EICAR, mode=0o600)
    clean = volume.write("home/clean", CLEAN)
    service = place.start(include=volume / "home")
    objects, summary = scan_json(service, "--verbose", volume.path, user=user)
    names = [bad, hidden] if user == "root" else [bad]
    assert paths(objects, "found") == sorted(map(str, names))
    assert paths(objects, "error") == ([] if user == "root" else [str(hidden)])
    assert paths(objects, "clean") == [str(clean)]
    assert all(entry["signature"] for entry in objects if entry["type"] == "found")
    assert summary["infected"] == len(names)
    assert open_as(NOBODY, bad).error == "EPERM"


def test_a_scan_of_ones_own_does_not_wait_for_a_full_scan_or_for_opens(place, volume, infected, clean):
    """All but those kept for opens stand still with scans on demand, and more wait: an open is answered all the same."""
    for i in range(40):
        volume.write(f"many/{i}", b"%d" % i)
    service = place.start(include=volume / "home", engine={"workers": 4})
    workers = service.stop_workers(4)
    process = start_holdfast(service, "scan", volume / "many")
    busy = wait_until(
        lambda: (pids := [pid for pid in workers if has_unread(pid, 3)]) and len(pids) == 2 and pids,
        "two workers have a file",
    )
    service.continue_workers(*set(workers) - set(busy))
    assert open_as(NOBODY, clean).content == CLEAN
    assert open_as(NOBODY, infected).error == "EPERM"
    assert process.poll() is None, "the scan waits"
    service.continue_workers()
    done = finish_holdfast(process)
    assert done.returncode == FINE and summary_of(done)["Scanned files"] == "40"


# --- what is known ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
def test_what_was_verified_is_not_scanned_again(service, volume):
    for i in range(5):
        volume.write(f"{i}", b"%d" % i + CLEAN)
    volume.write("bad", EICAR)
    time.sleep(0.1)
    assert summary_of(scan(service, volume.path))["Verified before"] == "0"
    done = scan(service, "--verbose", volume.path)
    assert summary_of(done)["Verified before"] == "5" and summary_of(done)["Infected files"] == "1"
    assert f"{volume / '3'}: OK (verified before)" in lines_of(done)
    before = service.status()["counters"]["scans"]["clean"]
    assert summary_of(scan(service, "--all", volume.path))["Verified before"] == "0"
    assert service.status()["counters"]["scans"]["clean"] == before + 5
    (volume / "3").write_bytes(MARKER)
    done = scan(service, volume.path)
    assert summary_of(done)["Verified before"] == "4" and f"{volume / '3'}: Marker.Test" in done.stdout


@pytest.mark.parametrize("volume", ["ext4"], indirect=True)
def test_what_could_not_be_verified_is_an_error_each_time(place, volume):
    large = volume.write("large", bytes(2 << 20))
    service = place.start(include=place.volume().path, engine={"max-file-size": "1M"})
    time.sleep(0.1)
    for _ in range(2):
        done = scan(service, volume.path)
        assert done.returncode == ERROR and f"{large}: not verified (" in done.stdout
        assert summary_of(done)["Not verified"] == "1" and summary_of(done)["Verified before"] == "0"


# --- while it runs ---------------------------------------------------------------------------------------------


@pytest.fixture
def slow(service, volume):
    """A scan that has begun and does not get on."""
    volume.write("a/bad", EICAR)
    for i in range(60):
        volume.write(f"b/{i}", b"%d" % i)
    service.stop_workers()
    return volume


def start_slow(service, volume, *words, **options):
    process = start_holdfast(service, "scan", *words, volume.path, **options)
    service.holder()
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_a_summary_of_what_was_done(service, slow, number):
    process = start_slow(service, slow)
    process.send_signal(number)
    done = finish_holdfast(process)
    assert done.returncode == ERROR and "Interrupted\n" in done.stdout
    assert int(summary_of(done)["Scanned files"]) < 61 and summary_of(done)["End Date"]
    service.continue_workers()
    assert scan(service, slow.path).returncode == INFECTED, "and the service goes on"


def test_a_scan_goes_on_with_another_guard(service, slow):
    process = start_slow(service, slow)
    service.lose_guard()
    service.continue_workers()
    done = finish_holdfast(process)
    assert done.returncode == INFECTED, done.stdout + done.stderr
    summary = summary_of(done)
    assert summary["Scanned files"] == "61" and "Total errors" not in summary and "Not verified" not in summary


def test_a_service_that_does_not_come_back_ends_the_scan_with_what_was_done(service, slow):
    process = start_slow(service, slow)
    service.disturbed = True
    service.stop()
    done = finish_holdfast(process, 60)
    assert done.returncode == ERROR and "the service has gone" in done.stderr
    assert summary_of(done)["End Date"]


def read_terminal(terminal):
    output = b""
    while select.select([terminal], [], [], PATIENCE)[0]:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        output += data
    return output


def test_progress_is_for_terminals(service, slow):
    for words, shown in (([], True), (["--no-progress"], False), (["--json"], False)):
        service.stop_workers()
        terminal, theirs = pty.openpty()
        process = start_slow(service, slow, *words, stderr=theirs)
        os.close(theirs)
        time.sleep(1)
        service.continue_workers()
        output = read_terminal(terminal)
        process.communicate(timeout=PATIENCE)
        os.close(terminal)
        assert (b"\r" in output) == shown, output
        if shown:
            assert b"61" in output and output.endswith(b"\r\x1b[K"), "files in all, and it is erased at the end"
    service.stop_workers()
    process = start_slow(service, slow)
    time.sleep(0.7)
    service.continue_workers()
    done = finish_holdfast(process)
    assert done.stderr == "" and "\r" not in done.stdout


# --- without a service -----------------------------------------------------------------------------------------


def engines_of(process):
    """What a scan on its own has started: the engine and its workers, by the group they are in."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (there := read_process(int(name))) and there.parent == process.pid:
            found += [there.pid, *(int(p) for p in os.listdir("/proc") if p.isdigit()
                                   and (child := read_process(int(p))) and child.parent == there.pid)]
    return found


@pytest.mark.parametrize("user", ["root", NOBODY])
def test_standalone_scans_without_a_service_and_never_as_root(place, volume, user):
    bad = volume.write("d/bad", EICAR)
    marked = volume.write("d/marked", MARKER)
    secret = volume.write("d/secret", EICAR, mode=0o600)
    service = place.service(include=place.volume().path, signatures=MARKER_SIGNATURE)
    temporary = service.directory / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    environment = {**service.environment, "TMPDIR": str(temporary)}
    known = {str(bad), str(marked)} | ({str(secret)} if user == "root" else set())

    process = start_holdfast(service, "--json", "scan", "--standalone", "--verbose", volume.path, volume.write(
        "slow", bytes(90 << 20)), user=user, env=environment)  # fmt: skip
    seen = set()
    while process.poll() is None:
        for pid in engines_of(process):
            with contextlib.suppress(OSError):
                seen.add((read_status(pid)["Name"], read_status(pid)["Uid"].split()[1]))
        time.sleep(0.01)
    done = finish_holdfast(process)
    assert done.returncode == INFECTED, done.stdout + done.stderr
    assert {name for name, _ in seen} >= {"holdfast-worker"}, seen
    assert all(uid != "0" for name, uid in seen if name in ("holdfast-worker",)), seen
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert set(paths(objects, "found")) == known
    assert paths(objects, "error") == ([] if user == "root" else [str(secret)])
    assert objects[-1]["signatures"] == 2 and not objects[-1]["test_only"]
    assert os.listdir(temporary) == [], "nothing is left"


def test_standalone_leaves_nothing_when_it_is_interrupted(place, volume):
    volume.write("slow", bytes(95 << 20))
    for i in range(20):
        os.symlink("slow", volume / f"{i}")
        (volume / f"copy{i}").write_bytes(os.urandom(8 << 20))
    service = place.service(include=place.volume().path, signatures=MARKER_SIGNATURE)
    temporary = service.directory / "tmp"
    temporary.mkdir()
    environment = {**service.environment, "TMPDIR": str(temporary)}
    process = start_holdfast(service, "scan", "--standalone", volume.path, env=environment)
    wait_until(lambda: len(engines_of(process)) > 1 or process.poll() is not None, "it has workers")
    pids = engines_of(process)
    assert os.listdir(temporary), "there is something to remove"
    process.send_signal(signal.SIGINT)
    done = finish_holdfast(process)
    # It may not have come to the first file yet.
    assert done.returncode == ERROR and "interrupted" in (done.stdout + done.stderr).lower()
    assert os.listdir(temporary) == []
    wait_until(lambda: not [pid for pid in pids if (p := read_process(pid)) and p.state != "Z"], "all have ended")


def test_standalone_takes_signatures_from_elsewhere(place, volume):
    volume.write("marked", MARKER)
    service = place.service(include=volume.path)
    database = service.directory / "database"
    database.mkdir()
    (database / "marker.ndb").write_text(MARKER_SIGNATURE["marker.ndb"])
    done = scan(service, "--standalone", "--database", database, volume.path)
    assert done.returncode == INFECTED and "Marker.Test" in done.stdout
    done = scan(service, "--standalone", volume.path)
    assert done.returncode == FINE and "ONLY THE EICAR TEST SIGNATURE" in done.stderr
    (database / "broken.ndb").write_text("this is no signature\n")
    done = scan(service, "--standalone", "--database", database, volume.path)
    assert done.returncode == ERROR and "database" in done.stderr


# --- the socket ------------------------------------------------------------------------------------------------

WIRE_VERSION = 1
FAILED, VERDICT_CLEAN, VERDICT_INFECTED = 3, 0, 1
Verdict = namedtuple("Verdict", "id verdict flags reason")


@functools.lru_cache(maxsize=None)
def wire_types():
    """The numbers of the messages, from the header: they are told nowhere else."""
    text = (REPOSITORY / "include/holdfast/wire.h").read_text()
    body = text[text.index("enum wire_type {") :]
    body = re.sub(r"/\*.*?\*/", "", body[: body.index("};")], flags=re.DOTALL)
    names = [name.split()[0] for name in body[body.index("{") + 1 :].split(",") if name.strip()]
    return {name: number for number, name in enumerate(names, 1)}


class Client:
    """One that speaks to the scan socket as it likes."""

    def __init__(self, service):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(service.run_dir / "scan"))

    def scan(self, fd, id=1, kind="WIRE_SCAN", flags=0):
        message = struct.pack("<HHIQIIQ", WIRE_VERSION, wire_types()[kind], 32, id, flags, 0, 0)
        socket.send_fds(self.socket, [message], [fd])
        return self

    def verdict(self):
        """None: the connection was closed."""
        try:
            message = self.socket.recv(8192)
        except ConnectionResetError:
            return None
        if not message:
            return None
        _, kind, _ = struct.unpack_from("<HHI", message)
        assert kind == wire_types()["WIRE_VERDICT"]
        id, _, _, verdict, flags = struct.unpack_from("<QQQII", message, 8)
        return Verdict(id, verdict, flags, message[40:296].split(b"\0")[0].decode())

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def opened(path, flags=os.O_RDONLY):
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def expect_service(service, volume):
    """Others are served as ever."""
    path = volume / "other"
    path.write_bytes(EICAR)
    done = scan(service, path)
    assert done.returncode == INFECTED, done.stdout + done.stderr


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_WRONLY], ids=["O_PATH", "O_WRONLY"])
def test_a_descriptor_that_cannot_be_read_shows_no_right(service, volume, flags):
    bad = volume.write("bad", EICAR)
    with opened(bad, flags) as fd:
        assert Client(service).scan(fd, 3).verdict()[:2] == (3, FAILED)
    with opened(bad) as fd:
        assert Client(service).scan(fd).verdict().verdict == VERDICT_INFECTED
    expect_service(service, volume)


def test_what_is_no_file_is_told(service, volume):
    client = Client(service)
    with opened(volume.path) as fd:
        assert client.scan(fd, 7).verdict()[:2] == (7, FAILED)
    reader, writer = os.pipe()
    assert client.scan(reader, 8).verdict()[:2] == (8, FAILED)
    os.close(reader)
    os.close(writer)
    with opened("/dev/zero") as fd:
        assert client.scan(fd, 9).verdict()[:2] == (9, FAILED)
    with opened("/proc/self/maps") as fd:
        client.scan(fd, 10)
        assert client.verdict().id == 10
    memory = os.memfd_create("x")
    os.write(memory, EICAR)
    assert client.scan(memory, 11).verdict().id == 11
    os.close(memory)
    expect_service(service, volume)


def test_why_an_open_was_refused_is_told_to_nobody_else(place, volume):
    """By a path alone nobody learns what is in a file, and not that somebody else was refused."""
    bad = volume.write("bad", EICAR)
    service = place.start(include=volume.path)
    client = Client(service)
    with opened(bad, os.O_PATH) as fd:
        client.scan(fd, 2, kind="WIRE_SCAN_WHY").verdict()
        assert open_as(NOBODY, bad).error == "EPERM"
        told = client.scan(fd, 3, kind="WIRE_SCAN_WHY").verdict()
    assert told[:2] == (3, FAILED) and "not by the on-access protection" in told.reason


GARBAGE = {
    "nothing that makes sense": b"x" * 100,
    "a version of its own": struct.pack("<HHIQIIQ", 99, 19, 32, 1, 0, 0, 0),
    "a size that is not": struct.pack("<HHIQIIQ", WIRE_VERSION, 19, 2400, 1, 0, 0, 0),
    "one byte": b"x",
    "a scan without a file": None,
    "a message for others": b"verdict",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_who_sends_garbage_is_dropped(service, volume, what):
    message = GARBAGE[what]
    if what == "a scan without a file":
        message = struct.pack("<HHIQIIQ", WIRE_VERSION, wire_types()["WIRE_SCAN"], 32, 1, 0, 0, 0)
    elif what == "a message for others":
        message = struct.pack("<HHI", WIRE_VERSION, wire_types()["WIRE_CONTROL_STATUS"], 8)
    client = Client(service)
    client.socket.send(message)
    assert client.verdict() is None
    expect_service(service, volume)


def test_more_than_one_file_at_once_is_garbage_too(service, volume):
    bad = volume.write("bad", EICAR)
    client = Client(service)
    with opened(bad) as one, opened(bad) as two:
        message = struct.pack("<HHIQIIQ", WIRE_VERSION, wire_types()["WIRE_SCAN"], 32, 1, 0, 0, 0)
        socket.send_fds(client.socket, [message], [one, two])
    assert client.verdict() is None
    expect_service(service, volume)


def flood(client, fd):
    """As much as the socket takes."""
    client.socket.setblocking(False)
    n = 0
    try:
        while n < 100000:
            client.scan(fd, n)
            n += 1
    except (BlockingIOError, OSError):
        pass
    return n


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_who_floods_and_never_reads_bothers_nobody(place, volume):
    clean = volume.write("home/clean", CLEAN)
    infected = volume.write("home/bad", EICAR)
    path = volume.write("big", bytes(100000))
    service = place.start(include=volume / "home")
    guard = service.pid("guard")
    before = descriptors_of(guard)
    clients = [Client(service) for _ in range(4)]
    for round in range(3):
        for client in clients:
            with opened(path) as fd:
                flood(client, fd)
        assert open_as(NOBODY, clean).content == CLEAN
        assert open_as(NOBODY, infected).error == "EPERM"
    assert descriptors_of(guard) < before + 4 * 20, "it takes no more than it has room for"
    assert scan(service, path).returncode == FINE
    for client in clients:
        client.close()
    wait_until(lambda: descriptors_of(guard) <= before + 2, "nothing is left of them")
    assert service.status()["requests"] == 0


WINDOW = 32  # files that a client has under way, see include/holdfast/control.h


def test_a_client_has_so_many_files_under_way_and_the_others_wait(service, volume):
    n = 150
    for i in range(n):
        volume.write(f"{i}", b"%d" % i)
    client = Client(service)
    guard = service.pid("guard")
    before = descriptors_of(guard)
    service.stop_workers()
    sent = 0
    client.socket.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        for sent in range(n):
            with opened(volume / str(sent)) as fd:
                client.scan(fd, sent)
    assert WINDOW < sent < n - 1, "the socket is full"
    assert service.status()["requests"] == WINDOW
    assert descriptors_of(guard) <= before + WINDOW + 2
    service.continue_workers()
    client.socket.settimeout(PATIENCE)
    assert {client.verdict()[:2] for _ in range(sent)} == {(i, VERDICT_CLEAN) for i in range(sent)}


def test_root_may_have_more_connections_than_one_user(service, volume):
    clean = volume.write("clean", CLEAN)
    clients = [Client(service) for _ in range(30)]
    for client in clients:
        with opened(clean) as fd:
            assert client.scan(fd, 5).verdict()[:2] == (5, VERDICT_CLEAN)
    for client in clients:
        client.close()


CONNECT = r"""
import os, select, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
clients = []
for i in range(40):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(sys.argv[1])
    clients.append(client)
while True:
    print(len(clients) - len(select.select(clients, [], [], 0)[0]), flush=True)
    if sys.stdin.readline() != "again\n":
        break
sys.stdin.readline()
"""


def test_one_user_has_so_many_connections_and_no_more(service, volume):
    hog = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", CONNECT, service.run_dir / "scan"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def count_left():
        left = int(hog.stdout.readline())
        hog.stdin.write("again\n")
        hog.stdin.flush()
        return left

    wait_until(lambda: count_left() == 16, "those beyond are closed")
    expect_service(service, volume)
    assert count_left() == 16, "and the others are not"
    done = scan(service, volume / "other", user=NOBODY)
    assert done.returncode == ERROR and done.stderr
    hog.communicate("\n", timeout=PATIENCE)
    wait_until(lambda: scan(service, volume / "other", user=NOBODY).returncode == INFECTED, "there is room again")
