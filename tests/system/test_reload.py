# SPDX-License-Identifier: GPL-2.0-only
"""New signatures take over: nothing is refused or let through that should not be, whichever way it is done."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import namedtuple
from pathlib import Path

import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    SHARED,
    Actor,
    encode_path,
    is_sanitized,
    open_as,
    open_held,
    send_signal,
    start_holdfast,
    wait_until,
)

MODES = pytest.mark.parametrize("mode", ["parallel", "lean"])


def marker(letter):
    """What a file of this kind holds, and the signature that finds it."""
    content = f"holdfast-system-test-reload-{letter}-8c02".encode()
    return content, f"Marker.{letter.upper()}:0:*:{content.hex()}\n"


(A, SIGNATURE_A), (B, SIGNATURE_B) = marker("a"), marker("b")


def start_hammers(place, clean, infected):
    """Each infected open is a line: no more of them than can be written."""
    paths = {"clean": list(map(encode_path, clean)), "infected": list(map(encode_path, infected))}
    return [place.keep(Actor("hammer", user, **paths, rest=0.002)).wait_for_about() for user in (NOBODY, "root")]


def expect_nothing_wrong(hammers):
    for hammer in hammers:
        (result,) = hammer.finish()
        assert result["opens"] > 20, "it was not much of a load"
        assert not result["leaked"], "malware could be opened during a reload"
        assert not result["refused"], "clean files were refused during a reload"


# --- under load ------------------------------------------------------------------------------------------------


@MODES
def test_signatures_come_and_go_under_load(place, volume, mode):
    clean = [volume.write(f"home/clean{i}", CLEAN + b"%d" % i) for i in range(3)]
    infected = [volume.write("home/eicar", EICAR), volume.write("home/a", A)]
    b = volume.write("home/b", B)
    service = place.start(include=volume / "home", signatures={"a.ndb": SIGNATURE_A}, engine={"reload": mode})
    hammers = start_hammers(place, clean, infected)
    for _ in range(3):
        assert open_as(NOBODY, b).content == B, "a signature that is gone is still in force"
        service.write_signatures({"b.ndb": SIGNATURE_B})
        service.reload()
        assert open_as(NOBODY, b).error == "EPERM", "a new signature is not in force"
        (service.signatures / "b.ndb").unlink()
        service.reload()
    expect_nothing_wrong(hammers)
    counters = service.status()["counters"]
    assert counters["workers_lost"] == counters["timeouts"] == counters["overflows"] == 0, counters


@MODES
def test_a_set_that_does_not_load_leaves_the_old_engine(place, volume, mode):
    clean, infected = volume.write("home/clean", CLEAN), volume.write("home/a", A)
    service = place.start(include=volume / "home", signatures={"a.ndb": SIGNATURE_A}, engine={"reload": mode})
    engine = service.pid("engine")
    hammers = start_hammers(place, [clean], [infected])
    for _ in range(2):
        service.write_signatures({"bad.ndb": "this is no signature\n"})
        lines = service.reload(refused=True)
        assert "bad.ndb" in lines, lines
        wait_until(lambda: len(service.pids("engine")) < 2, "the new engine has ended")
        assert service.pids("engine") == [engine], "the old engine is gone"
    (service.signatures / "bad.ndb").unlink()
    service.write_signatures({"b.ndb": SIGNATURE_B})
    service.reload()
    assert open_as(NOBODY, infected).error == "EPERM"
    expect_nothing_wrong(hammers)


@MODES
def test_what_is_scanned_just_then_gets_its_verdict(place, volume, mode):
    """Opens that wait when the old engine goes are answered by the new one."""
    infected, clean = volume.write("home/a", A), volume.write("home/clean", CLEAN)
    service = place.start(include=volume / "home", signatures={"a.ndb": SIGNATURE_A}, engine={"reload": mode})
    stopped = service.stop_workers()
    waiting = [open_held(place, path) for path in (infected, clean)]
    service.write_signatures({"b.ndb": SIGNATURE_B})
    after = service.position()
    send_signal(service.process.pid, signal.SIGHUP)
    if mode == "parallel":
        # The new workers are asked nothing that the old ones have been given.
        service.expect("configuration and signatures reloaded", after)
        service.continue_workers(*stopped)
    answers = [opened.opened() for opened in waiting]
    assert [answer.error for answer in answers] == ["EPERM", None]
    service.expect("configuration and signatures reloaded", after)
    service.disturbed = True


# --- how it is done --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short", [True, False])
def test_auto_is_lean_where_memory_is_short(place, volume, short):
    """The machine's memory is as /proc says, which says here what the test likes."""
    a, b = volume.write("home/a", A), volume.write("home/b", B)
    meminfo = place.base / "meminfo"
    meminfo.write_text(f"MemTotal: 16000000 kB\nMemAvailable: {1000 if short else 8000000} kB\n")
    mount = f'mount --bind {meminfo} /proc/meminfo && exec "$0" "$@"'
    service = place.start(
        include=volume / "home",
        signatures={"a.ndb": SIGNATURE_A},
        engine={"reload": "auto"},
        command=["unshare", "--mount", "--propagation", "slave", "--", "sh", "-c", mount],
    )
    service.write_signatures({"b.ndb": SIGNATURE_B})
    lines = service.reload()
    assert ("lean reload" in lines) == short, lines
    assert open_as(NOBODY, a).error == open_as(NOBODY, b).error == "EPERM"


# --- by themselves ---------------------------------------------------------------------------------------------


# Between two that nobody asked for there is a minute.
DISTANCE = 60


@pytest.mark.deadline(300)
def test_the_directory_is_watched(place, volume):
    """Somebody else puts signatures there: freshclam, a package, an administrator."""
    a, b = volume.write("home/a", A), volume.write("home/b", B)
    service = place.start(include=volume / "home", signatures={"a.ndb": SIGNATURE_A})

    def rename_into_place():
        service.write_signatures({"b.tmp": SIGNATURE_B})
        os.rename(service.signatures / "b.tmp", service.signatures / "b.ndb")

    for write in (
        lambda: service.write_signatures({"b.ndb": SIGNATURE_B}),
        lambda: (service.signatures / "b.ndb").unlink(),
        rename_into_place,
    ):
        refused = open_as(NOBODY, b).error == "EPERM"
        after = service.position()
        write()
        service.expect("configuration and signatures reloaded", after, DISTANCE + 60)
        assert (open_as(NOBODY, b).error == "EPERM") != refused
        assert open_as(NOBODY, a).error == "EPERM"


@pytest.mark.deadline(200)
def test_a_bad_file_in_the_directory_is_said_and_a_good_one_taken(place, volume):
    a, b = volume.write("home/a", A), volume.write("home/b", B)
    service = place.start(include=volume / "home", signatures={"a.ndb": SIGNATURE_A})
    after = service.position()
    service.write_signatures({"b.ndb": "this is no signature\n"})
    line = service.expect("reload refused.*", after, 60)
    assert service.match("b.ndb", after), line.string
    assert open_as(NOBODY, a).error == "EPERM"
    after = service.position()
    service.write_signatures({"b.ndb": SIGNATURE_B})
    service.expect("configuration and signatures reloaded", after, DISTANCE + 60)
    assert open_as(NOBODY, b).error == "EPERM"


def test_what_is_no_signature_changes_nothing(place, volume):
    """Editors, packages and freshclam leave all kinds of files beside: no reload for those."""
    b = volume.write("home/b", B)
    service = place.start(include=volume / "home", signatures={"a.ndb": SIGNATURE_A})
    after = service.position()
    for name in ("freshclam.dat", "mirrors.dat", "daily.cvd.part", ".b.ndb.swp"):
        (service.signatures / name).write_text("nothing\n")
    # What follows is noticed, and by then those would have been.
    service.write_signatures({"b.ndb": SIGNATURE_B})
    service.expect("configuration and signatures reloaded", after, 60)
    assert open_as(NOBODY, b).error == "EPERM"
    assert sum("the signatures have changed" in line for line in service.lines()[after:]) == 1


# --- with a set that takes a while -----------------------------------------------------------------------------


# Of the official size; below that what the trial of a set takes is more than a quarter of an engine.
SCALE = 0.5


@pytest.fixture(scope="module")
def large_set(keeper):
    """A directory of synthetic signatures. Nothing real matches any of them but EICAR."""
    generator = SHARED / "bench" / "gen_db.py"
    if not generator.exists():
        pytest.skip(f"there is no {generator}")
    if is_sanitized():
        pytest.skip("with AddressSanitizer memory is another matter")
    directory = Path(tempfile.mkdtemp(prefix="holdfast-test-set-", dir="/var/tmp"))
    keeper.tell("directory", directory)
    subprocess.run([sys.executable, "-B", generator, directory, str(SCALE)], check=True, timeout=300)
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
    keeper.tell("forget", directory)


def start_large(place, volume, large_set, **options):
    """Beside the set lies a file of signatures that a test may change."""
    service = place.service(include=volume / "home", signatures={"a.ndb": SIGNATURE_A}, **options)
    for path in large_set.iterdir():
        shutil.copy(path, service.signatures)
    service.start()
    return service


Sample = namedtuple("Sample", "total processes")


def memory_of(pid):
    """The process's share of what it has in memory, in KB. 0: it has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def roles(service):
    return {process.pid: process.role for process in service.processes()}


def measure(service):
    """Nothing where a process is forked meanwhile: pages that it shares with its parent would be counted twice."""
    before = roles(service)
    memory = {pid: memory_of(pid) for pid in before}
    if roles(service).keys() != before.keys():
        return Sample(0, {})
    return Sample(sum(memory.values()), {(before[pid], pid): kb for pid, kb in memory.items() if kb > 10000})


class Meter:
    """Samples a service's memory until it is told to end."""

    def __init__(self, service):
        self.service, self.ended = service, threading.Event()
        self.peak = Sample(0, {})
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.wait(0.05):
            self.peak = max(self.peak, measure(self.service), key=lambda sample: sample.total)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


@pytest.mark.deadline(300)
@MODES
def test_memory_stays_within_its_bound(place, volume, large_set, mode):
    """Lean never has much more than one engine; parallel has two, which shows that this is measured."""
    infected, clean, b = (volume.write(f"home/{name}", what) for name, what in
                          {"eicar": EICAR, "clean": CLEAN, "b": B}.items())
    service = start_large(place, volume, large_set, engine={"reload": mode}, hold_timeout="2m")
    service.workers()
    before = wait_until(lambda: (sample := measure(service)).total and sample, "its processes stay the same")
    hammers = start_hammers(place, [clean], [infected])
    with Meter(service) as meter:
        after = service.position()
        service.write_signatures({"b.ndb": SIGNATURE_B})
        send_signal(service.process.pid, signal.SIGHUP)
        service.expect("configuration and signatures reloaded", after, 120)
        assert open_as(NOBODY, b).error == "EPERM"
    expect_nothing_wrong(hammers)
    ratio = meter.peak.total / before.total
    assert (ratio <= 1.25) == (mode == "lean"), f"{ratio:.2f} x what it was: {meter.peak.processes}, before {before}"


def wait_for_gap(service, old):
    """Until the old engine and its workers have ended and the next one loads; it is stopped there."""

    def engines_and_others():
        processes = [process for process in service.processes() if process.state != "Z"]
        return [[p.pid for p in processes if p.role == "holdfast-" + role] for role in ("engine", "worker")]

    def stop_loading():
        engines, others = engines_and_others()
        if len(engines) != 1 or engines == [old] or others:
            return None
        service.freeze(engines[0])
        if engines_and_others() == [engines, []]:
            return engines[0]
        service.continue_workers(engines[0])  # it was about to have a child look at the files
        return None

    return wait_until(stop_loading, "an engine loads", 120)


@pytest.mark.deadline(300)
@pytest.mark.parametrize("policy", ["allow", "deny"])
def test_opens_while_no_engine_is_loaded(place, volume, large_set, policy):
    """Known files are opened at once; the others wait for the new engine, and no longer than hold-timeout."""
    known, unknown = volume.write("home/known", CLEAN), volume.write("home/unknown", CLEAN + b"too")
    a, b, late = volume.write("home/a", A), volume.write("home/b", B), volume.write("home/late", B + b"late")
    service = start_large(
        place, volume, large_set, engine={"reload": "lean"}, hold_timeout="1m", on_timeout=policy
    )
    assert open_as(NOBODY, known).content == CLEAN
    assert open_as(NOBODY, a).error == "EPERM"
    old, after = service.pid("engine"), service.position()
    service.write_signatures({"b.ndb": SIGNATURE_B})
    send_signal(service.process.pid, signal.SIGHUP)
    engine = wait_for_gap(service, old)
    assert open_as(NOBODY, known).content == CLEAN, "what was verified has been forgotten before the switch"
    held = [open_held(place, path) for path in (b, unknown)]
    assert service.status()["held"] == 2
    scan = start_holdfast(service, "scan", unknown)
    service.continue_workers(engine)
    assert [opened.opened(60).error for opened in held] == ["EPERM", None]
    assert scan.communicate(timeout=60) and scan.returncode == 0
    service.expect("configuration and signatures reloaded", after, 60)
    assert open_as(NOBODY, late).error == "EPERM"
    assert service.status()["counters"]["timeouts"] == 0


@pytest.mark.deadline(300)
@pytest.mark.parametrize("policy", ["allow", "deny"])
def test_opens_wait_for_the_new_engine_no_longer_than_is_said(place, volume, large_set, policy):
    b = volume.write("home/b", B)
    service = start_large(place, volume, large_set, engine={"reload": "lean"}, hold_timeout="1s", on_timeout=policy)
    old, after = service.pid("engine"), service.position()
    service.write_signatures({"b.ndb": SIGNATURE_B})
    send_signal(service.process.pid, signal.SIGHUP)
    engine = wait_for_gap(service, old)
    opened = open_as(NOBODY, b)
    assert (opened.error, opened.content) == ((None, B) if policy == "allow" else ("EPERM", b""))
    assert service.status()["counters"]["timeouts"] == 1
    service.continue_workers(engine)
    service.expect("configuration and signatures reloaded", after, 60)
    wait_until(lambda: open_as(NOBODY, b).error == "EPERM", "the new signature is in force")
    service.disturbed = True


@pytest.mark.deadline(300)
def test_an_engine_that_is_killed_while_it_loads_is_not_the_end(place, volume, large_set):
    """The old one has gone by then."""
    infected, b, clean = (volume.write(f"home/{name}", what) for name, what in
                          {"eicar": EICAR, "b": B, "clean": CLEAN}.items())
    service = start_large(place, volume, large_set, engine={"reload": "lean"}, hold_timeout="2m", on_failure="deny")
    old = service.pid("engine")
    service.write_signatures({"b.ndb": SIGNATURE_B})
    send_signal(service.process.pid, signal.SIGHUP)
    engine = wait_for_gap(service, old)
    service.disturbed = True
    send_signal(engine, signal.SIGKILL)
    assert open_as(NOBODY, infected, 120).error == "EPERM"
    wait_until(lambda: open_as(NOBODY, b, 120).error == "EPERM", "the new signature is in force", 60)
    assert open_as(NOBODY, clean, 120).content == CLEAN
