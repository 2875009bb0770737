# SPDX-License-Identifier: GPL-2.0-only
"""The verbs: what they print, for people and for programs, and their exit codes."""
import json
import os
import re
import signal

import pytest
from harness import CLEAN, EICAR, NOBODY, holdfast


def test_verify_succeeds_where_the_open_is_refused_and_leaves_nothing_behind(place, volume):
    volume.write("home/clean", CLEAN)
    service = place.start(include=volume / "home")

    done = holdfast(service, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"as {NOBODY}: Operation not permitted" in done.stdout
    assert "refused: on-access protection works" in done.stdout
    assert os.listdir(volume / "home") == ["clean"]
    service.expect(r"/home/\.holdfast-verify-\w+/eicar\.com: \S+ FOUND$")


@pytest.mark.parametrize("where", ["directory", "file"])
def test_verify_says_no_where_nothing_is_protected(place, volume, where):
    volume.write("home/clean", CLEAN)
    outside = (volume / "outside") if where == "directory" else volume / "outside" / "eicar"
    (volume / "outside").mkdir()
    service = place.start(include=volume / "home")

    done = holdfast(service, "verify", outside)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT REFUSED" in done.stdout
    assert os.listdir(volume / "outside") == []


def test_verify_never_overwrites_a_file(place, volume):
    precious = volume.write("outside/precious", b"the only copy")
    volume.write("home/clean", CLEAN)
    service = place.start(include=volume / "home")

    done = holdfast(service, "verify", precious)
    assert done.returncode == 2
    assert "File exists" in done.stderr
    assert precious.read_bytes() == b"the only copy"


def test_verify_tells_permissions_of_the_file_system_from_a_refusal(place, volume):
    """Below a directory that others may not enter nobody's open says nothing: root's does."""
    volume.write("home/clean", CLEAN)
    (volume / "home").chmod(0o700)
    service = place.start(include=volume / "home")

    done = holdfast(service, "--json", "verify")
    answer = json.loads(done.stdout)
    assert (answer["refused"], answer["user"]) == (True, "you"), done.stdout
    assert done.returncode == 0


def test_verify_says_no_when_malware_is_only_reported(place, volume):
    volume.write("home/clean", CLEAN)
    service = place.start(include=volume / "home", mode="notify")
    done = holdfast(service, "verify")
    assert done.returncode == 1, done.stdout
    service.expect(r"eicar\.com: \S+ FOUND$")


def test_status_tells_what_is_protected_and_what_happened(place, volume):
    infected = volume.write("home/eicar", EICAR)
    service = place.start(include=volume / "home", signatures={"x.ndb": "Other:0:*:6162636465666768\n"})
    holdfast(service, "verify")

    done = holdfast(service, "--json", "status")
    status = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert status["protecting"] is True and status["mode"] == "block" and status["warnings"] == []
    assert status["includes"] == [
        {"path": str(infected.parent), "watched": True, "filesystem": "tmpfs", "mark": "filesystem", "error": ""}
    ]
    assert status["signatures"]["count"] == 2 and not status["signatures"]["test_only"]
    assert status["workers"]["alive"] == 2
    assert status["counters"]["denied"] == 1 and status["counters"]["verdicts"]["infected"] == 1

    text = holdfast(service, "status").stdout
    assert text.startswith("protecting since ")
    assert str(infected.parent) in text and "\033[" not in text, "colours are for terminals"


def test_status_warns_loudly_that_only_the_test_signature_is_loaded(place, volume):
    service = place.start(include=volume.path)
    done = holdfast(service, "status")
    assert done.returncode == 1
    assert "ONLY THE EICAR TEST SIGNATURE IS LOADED" in done.stdout


@pytest.mark.parametrize("mode, code, word", [("notify", 1, "watching"), ("off", 2, "NOT PROTECTING")])
def test_status_says_when_nothing_is_blocked(place, volume, mode, code, word):
    service = place.start(include=volume.path, mode=mode)
    done = holdfast(service, "status")
    assert done.returncode == code, done.stdout
    assert done.stdout.startswith(word) and f"mode = {mode}" in done.stdout


def test_status_of_a_service_that_does_not_run(place, volume):
    service = place.service(include=volume.path)
    done = holdfast(service, "status")
    assert done.returncode == 2
    assert "NOT PROTECTING: holdfastd is not running" in done.stdout
    assert json.loads(holdfast(service, "--json", "status").stdout)["protecting"] is False


def test_status_is_not_for_everyone(place, volume):
    service = place.start(include=volume.path)
    done = holdfast(service, "status", user=NOBODY)
    assert done.returncode == 2
    assert "only root and control-group may ask" in done.stdout


def test_status_counts_restarts_and_tells_the_gap(place, volume):
    service = place.start(include=volume.path)
    service.lose_guard()
    restarts = service.status()["restarts"]
    assert restarts["guard"] == restarts["takeovers"] == 1 and restarts["last_takeover_us"] > 0
    assert restarts["last"]["guard"]["reason"] == "was ended by Killed"
    service.lose_family()
    service.expect("a new guard is protecting again")
    restarts = service.status()["restarts"]
    assert restarts["guard"] == 2 and restarts["gaps"] == 1 and restarts["last_gap_us"] > 0
    text = holdfast(service, "status").stdout
    assert "guard 2, engine 0" in text and re.search(r"takeovers +1, the last within \d+ ms", text), text
    assert re.search(r"gaps +1, the last of \d+ ms without protection", text), text


def test_explain_names_the_rule_and_its_line(place, volume):
    volume.write("home/alice/cache/x", CLEAN)
    service = place.service(include=volume / "home", exclude=volume / "home/*/cache")
    lines = service.config.read_text().splitlines()
    line_of = {key: 1 + next(i for i, line in enumerate(lines) if line.startswith(key + " ="))
               for key in ("include", "exclude")}

    paths = ["home/alice/doc", "home/alice/cache/x", "homely"]
    answers = json.loads(holdfast(service, "--json", "explain", *(volume / path for path in paths)).stdout)
    assert [(a["scope"], a.get("line")) for a in answers] == [
        ("in-scope", line_of["include"]),
        ("excluded", line_of["exclude"]),
        ("not-included", None),
    ]
    text = holdfast(service, "explain", volume / "home/alice/cache/x").stdout
    assert f"exclude = {volume / 'home/*/cache'} ({service.config}:{line_of['exclude']})" in text


def test_explain_resolves_symbolic_links_as_the_kernel_does(place, volume):
    volume.write("home/file", CLEAN)
    (volume / "link").symlink_to(volume / "home/file")
    service = place.service(include=volume / "home")
    (answer,) = json.loads(holdfast(service, "--json", "explain", volume / "link").stdout)
    assert (answer["scope"], answer["path"]) == ("in-scope", str(volume / "home/file"))


def test_explain_knows_which_filesystems_below_an_include_path_are_left_alone(place):
    """The include path is on the machine's own filesystem: nothing is started."""
    service = place.service(include="/")
    answers = json.loads(holdfast(service, "--json", "explain", "/proc/version", "/etc/passwd").stdout)
    assert [(answer["scope"], answer["watched"]) for answer in answers] == [("in-scope", False), ("in-scope", True)]
    text = holdfast(service, "explain", "/proc/version").stdout
    assert "NOT PROTECTED all the same" in text and "the kernel's own filesystem" in text


def test_check_config_names_file_line_and_problem(place, volume):
    service = place.service(include=volume.path)
    good = holdfast(service, "check-config")
    assert (good.returncode, good.stderr) == (0, "") and "valid, 1 include path(s)" in good.stdout

    bad = service.config.with_name("bad.conf")
    bad.write_text("[on-access]\ninclude = /\nmood = block\n[fullscan]\nx = 1\n")
    done = holdfast(service, "check-config", bad)
    assert done.returncode == 2
    assert f"{bad}:3: error: unknown key 'mood' in section [on-access]" in done.stdout
    assert f"{bad}:4: error: unknown section [fullscan]" in done.stdout

    answer = json.loads(holdfast(service, "--json", "check-config", bad).stdout)
    assert answer["valid"] is False
    assert [problem["line"] for problem in answer["problems"]] == [3, 4]


def test_check_config_warns_of_keys_without_effect(place, volume):
    service = place.service(include=volume.path, extra="[quarantine]\naction = move\n")
    done = holdfast(service, "check-config")
    assert done.returncode == 0
    assert "warning: action: has no effect in this version" in done.stdout


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["explain"], ["status", "x"], ["--frob", "status"]])
def test_wrong_calls_are_errors(place, volume, words):
    done = holdfast(place.service(include=volume.path), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_help_names_every_verb(place, volume):
    done = holdfast(place.service(include=volume.path), "--help")
    assert done.returncode == 0
    for verb in ("status", "explain", "check-config", "verify", "update"):
        assert verb in done.stdout
