# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with a configuration or with signatures is said, and a running service keeps what it has."""
import re
import signal

import pytest
from harness import (
    CLEAN,
    EICAR,
    MARKER,
    MARKER_SIGNATURE,
    NOBODY,
    Actor,
    create,
    encode_path,
    execute_as,
    open_as,
    program,
    send_signal,
    wait_until,
)

GOOD = "[on-access]\ninclude = {volume}\n"

# Text, the line that the error has to name (0: none), and what it has to say.
BAD = {
    "unknown section": (GOOD + "[on-acess]\nmode = block\n", 3, "unknown section"),
    "unknown key": (GOOD + "modes = block\n", 3, "unknown key 'modes'"),
    "key of another section": (GOOD + "workers = 2\n", 3, "unknown key 'workers'"),
    "key before any section": ("mode = block\n" + GOOD, 1, "before any"),
    "neither section nor key": (GOOD + "what is this\n", 3, "neither"),
    "unclosed section": ("[on-access\ninclude = {volume}\n", 1, ""),
    "no value": (GOOD + "exclude =\n", 3, "no value"),
    "no include at all": ("[on-access]\nmode = block\n", 0, "no include"),
    "empty file": ("", 0, "no include"),
    "relative include": ("[on-access]\ninclude = home\n", 2, "absolute"),
    "relative exclude": (GOOD + "exclude = home\n", 3, "absolute"),
    "relative log-file": (GOOD + "[alerts]\nlog-file = holdfast.log\n", 4, "absolute"),
    "include on the kernel's own filesystem": ("[on-access]\ninclude = /proc/sys\n", 2, "holds no files"),
    "second of two includes is on one": (GOOD + "include = /sys/kernel\n", 3, "holds no files"),
    ".. in a path": (GOOD + "exclude = {volume}/../x\n", 3, r"\.\."),
    "** beside other characters": (GOOD + "exclude = {volume}/a**\n", 3, r"\*\*"),
    "* in a path that is no rule": (GOOD + "[alerts]\nlog-file = /var/log/*\n", 4, r"\*"),
    "include of the kernel's own filesystem": ("[on-access]\ninclude = /proc\n", 2, "kernel's own"),
    "bad mode": (GOOD + "mode = kill\n", 3, "block notify off"),
    "bad policy": (GOOD + "on-timeout = maybe\n", 3, "allow deny"),
    "bad truth value": (GOOD + "[alerts]\nsyslog = true\n", 4, "yes no"),
    "bad duration": (GOOD + "hold-timeout = soon\n", 3, "duration"),
    "bad unit of a duration": (GOOD + "hold-timeout = 15parsec\n", 3, "duration"),
    "negative duration": (GOOD + "hold-timeout = -1s\n", 3, "duration"),
    "duration out of range": (GOOD + "hold-timeout = 0s\n", 3, "out of range"),
    "duration beyond numbers": (GOOD + "hold-timeout = 99999999999999999999h\n", 3, "duration"),
    "bad number": (GOOD + "[engine]\nworkers = many\n", 4, "number"),
    "no workers": (GOOD + "[engine]\nworkers = 0\n", 4, "out of range"),
    "too many workers": (GOOD + "[engine]\nworkers = 129\n", 4, "out of range"),
    "bad size": (GOOD + "[engine]\nmax-file-size = 1X\n", 4, "size"),
    "size out of range": (GOOD + "[engine]\nmax-file-size = 4G\n", 4, "out of range"),
    "given twice": (GOOD + "mode = block\nmode = off\n", 4, "line 3"),
    "unknown user": (GOOD + "exclude-user = nobody-of-this-name\n", 3, "no user"),
    "unknown service user": ("[service]\nuser = nobody-of-this-name\n" + GOOD, 2, "no user"),
    "root as service user": ("[service]\nuser = root\n" + GOOD, 2, "must not be root"),
    "unknown group": ("[service]\ncontrol-group = nobody-of-this-name\n" + GOOD, 2, "no group"),
    "log file without a directory": (GOOD + "[alerts]\nlog-file = {volume}/missing/log\n", 4, "no directory"),
    "signatures that are not there": (GOOD + "[engine]\nsignatures = {volume}/missing\n", 4, "No such file"),
    "signatures that are a file": (GOOD + "[engine]\nsignatures = {config}\n", 4, "not a directory"),
    "line too long": (GOOD + "exclude = /" + "x" * 250 + "\n", 3, "too long"),
    "line far too long": (GOOD + "exclude = /" + "x/" * 50000 + "\n", 3, "too long"),
    "line too long by one": (GOOD + "exclude = /" + "x" * (199 - len("exclude = /")) + "\n", 3, "too long"),
    "indented line": (GOOD + "  exclude = {volume}/x\n", 3, "indented"),
    "comment behind a value": (GOOD + "exclude = {volume}/x ; not this\n", 3, "comment"),
    "NUL byte": (GOOD + "exclude = {volume}/x\0y\n", 3, "NUL"),
    "too many entries": (GOOD + "exclude = /x\n" * 257, 259, "more than 256"),
}

# What looks odd and is right.
GOOD_ONES = {
    "comments and empty lines": "# one\n; two\n\n" + GOOD + "\n# " + "long " * 100 + "\n",
    "CRLF": GOOD.replace("\n", "\r\n"),
    "no newline at the end": GOOD.rstrip("\n"),
    "no spaces": "[on-access]\ninclude={volume}\n",
    "= and # in a path": GOOD + "exclude = {volume}/a=b #c\n",
    "the longest line": GOOD + "exclude = /" + "x" * (198 - len("exclude = /")) + "\n",
    "as many entries as there may be": GOOD + "exclude = /x\n" * 256,
}


def write_text(service, text, volume):
    """Instead of the configuration that the service was made with."""
    text = text.replace("{volume}", str(volume.path)).replace("{config}", str(service.config))
    service.config.write_bytes(text.encode())


def expect_error(service, line, says, text):
    where = f"{service.config}:{line}: " if line else f"{service.config}: "
    assert re.search(re.escape(where) + ".*" + says, text), text


def run_cli(service, *words):
    return execute_as("root", program("holdfast"), "--config", service.config, *words)


@pytest.mark.parametrize("text, line, says", BAD.values(), ids=BAD.keys())
def test_a_bad_configuration_keeps_the_service_from_starting(place, volume, text, line, says):
    service = place.service(include=volume.path)
    write_text(service, text, volume)
    if "[service]" not in text:  # for the socket that must not be there
        service.config.write_bytes(service.config.read_bytes() + f"[service]\nrun-dir = {service.run_dir}\n".encode())

    assert service.launch_to_end() == 2, service.errors()
    expect_error(service, line, says, service.errors())
    assert not service.run_dir.exists(), "it has made its directory"
    assert not service.processes()
    check = run_cli(service, "check-config")
    assert check.status != 0, "check-config says otherwise"
    if line:
        assert f":{line}: " in check.output


@pytest.mark.parametrize("text", GOOD_ONES.values(), ids=GOOD_ONES.keys())
def test_what_looks_odd_and_is_right_is_taken(place, volume, text):
    infected = volume.write("eicar", EICAR)
    service = place.service(include=volume.path)
    ours = service.config.read_text().replace(f"[on-access]\ninclude = {volume.path}\n", "")
    write_text(service, ours + text, volume)
    service.start()
    assert open_as(NOBODY, infected).error == "EPERM"
    assert run_cli(service, "check-config").status == 0


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_an_unreadable_configuration_is_an_error(place, volume, kind):
    service = place.service(include=volume.path)
    service.config.unlink()
    if kind == "directory":
        service.config.mkdir()
    assert service.launch_to_end() == 2
    assert str(service.config) in service.errors()
    assert not service.run_dir.exists()


def test_all_that_is_wrong_is_said_at_once(place, volume):
    service = place.service(include=volume.path)
    write_text(service, "[on-access]\nmode = kill\nincldue = /\nhold-timeout = soon\n", volume)
    assert service.launch_to_end() == 2
    for line in (2, 3, 4):
        assert f"{service.config}:{line}: " in service.errors()


# --- while it runs ---------------------------------------------------------------------------------------------


@pytest.fixture
def infected(volume):
    return volume.write("home/eicar", EICAR)


@pytest.fixture
def running(place, volume, infected):
    service = place.start(include=volume / "home", signatures=MARKER_SIGNATURE)
    # The porter is started last.
    wait_until(lambda: service.pids("porter") and service.standbys(), "all have been started")
    processes = {process.pid for process in service.processes() if process.role != "holdfast-worker"}
    assert len(processes) == 7
    return service, processes


def expect_unchanged(service, volume, infected, processes):
    assert open_as(NOBODY, infected).error == "EPERM"
    roles = {process.pid for process in service.processes() if process.role != "holdfast-worker"}
    assert roles == processes, "it was restarted"


@pytest.mark.parametrize("text, line, says", BAD.values(), ids=BAD.keys())
def test_a_running_service_keeps_its_configuration_when_the_new_one_is_bad(
    running, volume, infected, text, line, says
):
    service, processes = running
    write_text(service, text, volume)
    lines = service.reload(refused=True)
    expect_error(service, line, says, lines)
    expect_unchanged(service, volume, infected, processes)


# What is done to the directory of signatures, and what is to be said of it.
BAD_SIGNATURES = {
    "malformed": (lambda service: service.write_signatures({"bad.ndb": "this is no signature\n"}), "cannot load"),
    "malformed hash": (lambda service: service.write_signatures({"bad.hdb": "xyz:abc\n"}), "cannot load"),
    "broken archive": (lambda service: service.write_signatures({"bad.cvd": "ClamAV-VDB:nonsense\n"}), "cannot load"),
    "unreadable directory": (lambda service: service.signatures.chmod(0), "cannot (read|load)"),
    "empty": (lambda service: (service.signatures / "marker.ndb").unlink(), "empty"),
}


@pytest.mark.parametrize("spoil, says", BAD_SIGNATURES.values(), ids=BAD_SIGNATURES.keys())
def test_a_running_service_keeps_its_signatures_when_the_new_ones_are_bad(running, volume, infected, spoil, says):
    service, processes = running
    marked = volume / "home/marked"
    create(marked, MARKER)
    spoil(service)
    lines = service.reload(refused=True)
    assert re.search(says, lines), lines
    expect_unchanged(service, volume, infected, processes)
    assert open_as(NOBODY, marked).error == "EPERM", "a signature that was loaded before is gone"


def test_after_a_refused_reload_a_good_one_is_taken(running, volume, infected):
    service, _ = running
    write_text(service, "nonsense\n", volume)
    service.reload(refused=True)
    service.sections["on-access"]["exclude"] = infected
    service.write_config()
    service.reload()
    assert open_as(NOBODY, infected).content == EICAR


@pytest.mark.parametrize(
    "section, key, value, says",
    [
        ("service", "run-dir", "/tmp/elsewhere", "run-dir"),
        ("service", "state-dir", "/tmp/elsewhere", "state-dir"),
        ("service", "user", "daemon", "user"),
        ("service", "control-group", "daemon", "control-group"),
    ],
)
def test_what_cannot_change_while_it_runs_is_refused(running, volume, infected, section, key, value, says):
    service, processes = running
    service.sections[section][key] = value
    service.write_config()
    assert says in service.reload(refused=True)
    expect_unchanged(service, volume, infected, processes)


def test_a_log_file_that_cannot_be_written_refuses_the_reload(running, volume, infected):
    service, processes = running
    service.sections["alerts"]["log-file"] = "/proc/version"
    service.write_config()
    assert "cannot write /proc/version" in service.reload(refused=True)
    expect_unchanged(service, volume, infected, processes)
    service.expect_found(infected)


def test_a_log_file_is_reopened_by_a_reload(running, volume, infected):
    """After whoever rotates logs has moved it away."""
    service, _ = running
    service.log.rename(service.log.with_suffix(".1"))
    send_signal(service.process.pid, signal.SIGHUP)
    service.expect("configuration and signatures reloaded")
    assert open_as(NOBODY, infected).error == "EPERM"
    service.expect_found(infected)


# --- signatures at the start -----------------------------------------------------------------------------------


@pytest.mark.parametrize("signatures", [None, {}], ids=["missing", "empty"])
def test_without_signatures_it_starts_with_the_test_signature_and_says_so_loudly(place, volume, infected, signatures):
    service = place.start(include=volume / "home", signatures=signatures)
    line = service.expect("ONLY THE EICAR TEST SIGNATURE")
    assert "ONLY THE EICAR TEST SIGNATURE" in service.errors(), "nothing on standard error"
    assert str(service.signatures) in line.string, "where signatures belong is not said"
    assert open_as(NOBODY, infected).error == "EPERM"
    status = service.status()
    assert status["signatures"]["test_only"]
    assert any("ONLY THE EICAR TEST SIGNATURE" in warning for warning in status["warnings"])
    assert "ONLY THE EICAR TEST SIGNATURE" in run_cli(service, "status").output


def test_with_signatures_the_test_signature_counts_too_and_nothing_is_said(place, volume, infected):
    service = place.start(include=volume / "home", signatures=MARKER_SIGNATURE)
    assert open_as(NOBODY, infected).error == "EPERM"
    assert not service.match("ONLY THE EICAR")
    assert not service.status()["signatures"]["test_only"]


@pytest.mark.parametrize("name", [name for name in BAD_SIGNATURES if name != "empty"])
def test_bad_signatures_keep_the_service_from_starting(place, volume, infected, name):
    spoil, says = BAD_SIGNATURES[name]
    service = place.service(include=volume / "home", signatures=MARKER_SIGNATURE)
    spoil(service)
    assert service.launch_to_end() == 1
    assert re.search(says, service.errors()) and str(service.signatures) in service.errors(), service.errors()
    assert not service.processes()
    assert open_as(NOBODY, infected).content == EICAR, "it is protected although nothing runs"


# --- reload under load -----------------------------------------------------------------------------------------


def test_reloads_leave_no_moment_unprotected(place, volume, infected):
    clean = [volume.write(f"home/clean{i}", CLEAN) for i in range(3)]
    service = place.start(include=volume / "home", signatures=MARKER_SIGNATURE)
    hammers = [
        place.keep(
            Actor("hammer", user, clean=[encode_path(path) for path in clean], infected=[encode_path(infected)])
        ).wait_for_about()
        for user in (NOBODY, "root", NOBODY)
    ]
    for _ in range(5):
        service.reload()
    for hammer in hammers:
        (result,) = hammer.finish()
        assert result["opens"] > 20, "it was not much of a load"
        assert not result["leaked"], "malware could be opened during a reload"
        assert not result["refused"], "clean files were refused during a reload"
    counters = service.status()["counters"]
    assert counters["workers_lost"] == counters["timeouts"] == counters["overflows"] == 0, counters
