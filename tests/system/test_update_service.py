# SPDX-License-Identifier: GPL-2.0-only
"""Fresh signatures where the service runs: by itself and when asked, until opens are refused by them; and freshclam."""
import json
import os
import pty
import pwd
import select
import shutil
import signal
import subprocess
import time

import pytest
from harness import (
    NOBODY,
    PATIENCE,
    USER,
    finish_holdfast,
    holdfast,
    open_as,
    read_status,
    start_holdfast,
    wait_until,
)
from updates import (
    COOL_DOWN,
    DATA,
    FAILED,
    HEAD,
    UP_TO_DATE,
    UPDATED,
    WHOLE,
    asked,
    cdiffs,
    in_force,
    item,
    make_service,
    needs_data,
    publish,
    sample,
    source,
    state,
    update,
)

pytestmark = needs_data


@pytest.fixture
def samples(volume):
    return {version: volume.write(f"home/sample-{version}", sample(version)) for version in (5, 6)}


@pytest.fixture
def service(place, volume, mirror, samples):
    """One that has been told to fetch when asked only."""
    publish(mirror.directory, 5)
    return make_service(place, mirror, include=volume / "home").start()


def refused(samples):
    return {version for version, path in samples.items() if open_as(NOBODY, path).error == "EPERM"}


def expect_refused(samples, versions):
    wait_until(lambda: refused(samples) == versions, f"files that are found from {versions} on are refused, no others")


def next_run(service):
    return wait_until(lambda: state(service)["next_run"], "it has said when the next run is")


# --- until it is in force --------------------------------------------------------------------------------------


def test_what_was_fetched_is_in_force(service, mirror, samples):
    assert refused(samples) == set()
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, WHOLE]
    expect_refused(samples, {5})
    publish(mirror.directory, 6)
    after = service.position()
    said = update(service, UPDATED)
    assert asked(mirror) == [HEAD, *cdiffs(6, 6)]
    assert "5 -> 6" in said
    expect_refused(samples, {5, 6})
    service.expect(r"signatures: test 5 -> 6 from " + mirror.url, after)
    service.expect("configuration and signatures reloaded", after)
    after = service.position()
    update(service, UP_TO_DATE)
    assert asked(mirror) == [HEAD]
    assert not service.match("reload", after), "it has reloaded what it had"


def test_status_says_what_there_is_and_where_from(service, mirror, samples):
    update(service, UPDATED)
    expect_refused(samples, {5})
    status = service.status()["signatures"]
    (database,) = status["databases"]
    assert (database["name"], database["version"], database["signatures"]) == ("test.cvd", 5, 13)
    assert database["built"] == 1624411902
    (fetched,) = status["fetched"]
    assert fetched["source"] == mirror.url and fetched["loaded"] and time.time() - 600 < fetched["checked"]
    text = holdfast(service, "status").stdout
    assert f"from {mirror.url}" in text
    assert "test.cvd" in text


def test_signatures_that_are_old_are_warned_of(place, volume, mirror):
    """Those of the test are of 2021."""
    service = make_service(place, include=volume.path, fetch={"mirror": []})
    shutil.copy(DATA / "test-6.cvd", service.signatures / "test.cvd")
    service.start()
    service.expect(r"signatures: the newest are \d+ days old \(max-age-warning is 3 days\)")
    assert any("max-age-warning" in warning for warning in service.status()["warnings"])
    service.sections["signatures"]["max-age-warning"] = 0
    service.write_config()
    service.reload()
    assert not any("max-age-warning" in warning for warning in service.status()["warnings"])


def test_an_update_that_brings_nothing_good_changes_nothing(service, mirror, samples):
    update(service, UPDATED)
    expect_refused(samples, {5})
    engine, after = service.pid("engine"), service.position()
    publish(mirror.directory, 6, [])
    path = mirror.directory / "test.cvd"
    path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    update(service, FAILED)
    service.expect(r"signatures: test was not refreshed: .*" + mirror.url, after)
    assert refused(samples) == {5}
    assert service.pid("engine") == engine
    assert not service.match("reload", after)


def test_a_published_set_outlives_the_service(service, mirror, samples):
    update(service, UPDATED)
    expect_refused(samples, {5})
    assert service.stop() == 0
    service.start()
    assert refused(samples) == {5}
    publish(mirror.directory, 6)
    update(service, UPDATED)
    expect_refused(samples, {5, 6})


# --- by itself -------------------------------------------------------------------------------------------------


def start_fetching(place, volume, mirror, **fetch):
    """A service that fetches by itself."""
    return make_service(place, mirror, include=volume / "home", fetch={"check-every": "1h", **fetch}).start()


def test_it_fetches_by_itself_and_once_only(place, volume, mirror, samples):
    publish(mirror.directory, 5)
    service = start_fetching(place, volume, mirror)
    expect_refused(samples, {5})
    assert asked(mirror) == [HEAD, WHOLE]
    assert time.time() + 3000 < next_run(service) < time.time() + 3700
    # Whoever starts it over and over does not have it ask over and over.
    for _ in range(2):
        service.stop()
        service.start()
        wait_until(lambda: service.status()["signatures"]["next_check"], "it has looked")
        assert refused(samples) == {5}
        update(service, UP_TO_DATE)
        assert asked(mirror) == [HEAD], "it has asked by itself, too"


def test_it_asks_when_its_time_has_come(place, volume, mirror, samples):
    publish(mirror.directory, 5)
    service = start_fetching(place, volume, mirror)
    expect_refused(samples, {5})
    next_run(service)
    service.stop()
    publish(mirror.directory, 6)
    mirror.forget()
    path = service.signatures / "fetch" / "state.json"
    known = state(service)
    known["next_run"] = int(time.time()) - 1
    path.write_text(json.dumps(known))
    service.start()
    expect_refused(samples, {5, 6})
    assert asked(mirror) == [HEAD, *cdiffs(6, 6)]


def test_check_every_of_nothing_is_never(place, volume, mirror, samples):
    publish(mirror.directory, 5)
    service = start_fetching(place, volume, mirror, **{"check-every": 0})
    service.workers()
    service.reload()
    assert refused(samples) == set()
    assert asked(mirror) == [] and not service.pids("fetch")


# --- leave me alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 403])
def test_a_cool_down_outlives_everything(service, mirror, samples, status):
    mirror.rules = [{"status": status, "headers": {"Retry-After": "600"} if status == 429 else {}}]
    update(service, COOL_DOWN)
    assert asked(mirror) == [HEAD]
    service.expect(rf"signatures: {mirror.url} is not asked any more")
    mirror.rules = []
    for _ in range(2):
        update(service, COOL_DOWN)
        (entry,) = service.status()["signatures"]["sources"]
        assert entry["cooling"] and entry["cool_until"] == source(service, mirror.url)["cool_until"]
        assert any(mirror.url in warning for warning in service.status()["warnings"])
        text = holdfast(service, "status").stdout
        assert mirror.url in text and str(status) in text
        assert time.strftime("%H:%M", time.localtime(entry["cool_until"])) in text
        service.stop()
        service.start()
    update(service, COOL_DOWN)
    service.stop()
    update(service, COOL_DOWN)
    assert asked(mirror) == []
    service.start()


def test_a_clock_that_was_wrong_locks_nobody_out(service, mirror):
    """It was 2036 when the mirror asked to be left alone for an hour."""
    mirror.rules = [{"status": 429, "headers": {"Retry-After": "3600"}}]
    update(service, COOL_DOWN)
    mirror.rules = []
    known = state(service)
    for key in ("cool_since", "cool_until"):
        known["sources"][0][key] += 10 * 365 * 86400
    (service.signatures / "fetch" / "state.json").write_text(json.dumps(known))
    update(service, UPDATED)


# --- who asks --------------------------------------------------------------------------------------------------


@pytest.fixture
def stalled(service, mirror):
    """The whole file does not end."""
    mirror.rules = [{"path": "/test.cvd", "range": False, "stall": 2000}]
    return mirror


def start_stalled(service, mirror):
    process = start_holdfast(service, "update")
    wait_until(lambda: mirror.account and mirror.account[-1]["sent"] == 2000, "it waits for the rest")
    return process


def test_two_who_ask_at_once_are_told_of_one_run(service, stalled, samples):
    first = start_stalled(service, stalled)
    second = start_holdfast(service, "update")
    wait_until(lambda: len(service.pids("fetch")) == 1, "one fetcher runs")
    fetcher = service.pid("fetch")
    # What it still waits for is broken off, and asked for again.
    stalled.rules = []
    stalled.break_off()
    assert finish_holdfast(first).returncode == UPDATED
    assert finish_holdfast(second).returncode in (UPDATED, UP_TO_DATE)
    expect_refused(samples, {5})
    assert fetcher not in service.pids("fetch")


def test_who_asks_may_go_away(service, stalled, mirror, samples):
    process = start_stalled(service, stalled)
    process.send_signal(signal.SIGINT)
    assert finish_holdfast(process).returncode == 128 + signal.SIGINT
    assert len(service.pids("fetch")) == 1, "the service's fetcher ended with who asked"
    mirror.rules = []
    mirror.break_off()
    expect_refused(samples, {5})


def test_the_service_ends_in_the_middle_of_it(service, stalled):
    process = start_stalled(service, stalled)
    assert service.stop() == 0
    assert finish_holdfast(process).returncode == FAILED
    assert not service.processes()
    assert in_force(service) == {}


def test_a_fetcher_that_is_killed_is_said_and_not_the_end(service, stalled, mirror, samples):
    process = start_stalled(service, stalled)
    after = service.position()
    service.signal("fetch", signal.SIGKILL)
    done = finish_holdfast(process)
    assert done.returncode == FAILED and "ended unexpectedly" in done.stderr
    service.expect("holdfast-fetch .*was ended by", after)
    mirror.rules = []
    update(service, UPDATED)
    expect_refused(samples, {5})


@pytest.mark.parametrize("user", [NOBODY, USER])
def test_only_root_may_ask(service, mirror, user):
    """The control group may ask for the status."""
    done = holdfast(service, "update", user=user)
    assert done.returncode == FAILED and "only root" in done.stderr
    assert asked(mirror) == []
    update(service, UPDATED)


def test_it_has_no_privileges_there_either(service, stalled):
    process = start_stalled(service, stalled)
    account = pwd.getpwnam(USER)
    status = read_status(service.pid("fetch"))
    assert status["Uid"].split() == [str(account.pw_uid)] * 4 and status["Gid"].split() == [str(account.pw_gid)] * 4
    assert status["Groups"] == "" and status["NoNewPrivs"] == "1"
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {0}
    service.stop()
    finish_holdfast(process)


def test_a_terminal_sees_it_come(service, stalled):
    ours, theirs = pty.openpty()
    process = start_holdfast(service, "update", stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b""

    def seen():
        nonlocal text
        if select.select([ours], [], [], 0)[0]:
            text += os.read(ours, 4096)
        return b"test.cvd" in text and b"%" in text

    wait_until(seen, "there is a bar", PATIENCE)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=PATIENCE)
    os.close(ours)


# --- freshclam -------------------------------------------------------------------------------------------------


@pytest.fixture
def freshclam(place, mirror):
    """Runs Debian's freshclam once, into a directory of its own, with the mock as its mirror."""
    program = shutil.which("freshclam")
    if not program:
        pytest.skip("no freshclam")
    directory = place.base / "freshclam"
    directory.mkdir()
    shutil.chown(directory, "clamav")
    config = place.base / "freshclam.conf"
    config.write_text(
        f"""\
DatabaseDirectory {directory}
DatabaseOwner clamav
DatabaseMirror {mirror.url}
DNSDatabaseInfo no
ExcludeDatabase main
ExcludeDatabase daily
ExcludeDatabase bytecode
ExtraDatabase test
"""
    )

    def fetch():
        argv = [program, f"--config-file={config}", "--stdout"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    fetch.directory = directory
    return fetch


def test_a_directory_that_freshclam_maintains(place, volume, mirror, samples, freshclam):
    """Its changes are noticed, and loaded, and none of them is ours."""
    publish(mirror.directory, 5)
    freshclam()
    service = place.start(include=volume / "home", engine={"signatures": freshclam.directory})
    assert refused(samples) == {5}
    before = {path.name for path in freshclam.directory.iterdir()}
    publish(mirror.directory, 6)
    after = service.position()
    freshclam()
    service.expect("configuration and signatures reloaded", after, 60)
    assert refused(samples) == {5, 6}
    (database,) = service.status()["signatures"]["databases"]
    assert (database["name"].split(".")[0], database["version"]) == ("test", 6)
    after = {path.name for path in freshclam.directory.iterdir()}
    assert {name.split(".")[0] for name in after} == {name.split(".")[0] for name in before}


def test_from_freshclams_directory_to_ones_own(place, volume, mirror, samples, freshclam):
    """What it has fetched is where the fetcher goes on: by cdiffs, and without a second copy."""
    publish(mirror.directory, 5)
    freshclam()
    mirror.forget()
    shutil.chown(freshclam.directory, USER)
    service = make_service(place, mirror, include=volume / "home", engine={"signatures": freshclam.directory})
    service.signatures = freshclam.directory
    service.start()
    publish(mirror.directory, 6)
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, *cdiffs(6, 6)]
    expect_refused(samples, {5, 6})
    assert in_force(service) == {"test.cld": 6}
    assert not list(freshclam.directory.glob("test.c?d"))
    assert item(service, "test")["version"] == 6
