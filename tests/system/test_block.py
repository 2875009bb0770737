# SPDX-License-Identifier: GPL-2.0-only
"""What is malware cannot be opened by anyone, what is not can be opened by everyone, and the log says why."""
import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest
from harness import (
    CLEAN,
    EICAR,
    MARKER,
    MARKER_SIGNATURE,
    NOBODY,
    create,
    execute_as,
    open_all_as,
    open_as,
    start_open,
)

TESTFILES = Path("/usr/share/clamav-testfiles")
TESTFILES_SIGNATURE = {"testfiles.hdb": "aa15bcf478d165efd2065190eb473bcb:544:ClamAV-Test-File\n"}

# Thu Dec 15 15:42:03 2022 -> PATH: SIGNATURE FOUND
FOUND_LINE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 1-3]\d"
    r" \d\d:\d\d:\d\d 20\d\d -> (.*): ([\w.-]+) FOUND"
)


@pytest.mark.every_filesystem
@pytest.mark.parametrize("user", [NOBODY, "root"])
def test_malware_is_refused_and_the_clean_file_beside_it_is_not(place, volume, user):
    infected = volume.write("home/eicar.com", EICAR)
    clean = volume.write("home/clean.txt", CLEAN)
    service = place.start(include=volume / "home")

    opened = open_as(user, infected)
    assert (opened.error, opened.content) == ("EPERM", b""), f"{user} could open malware"
    assert open_as(user, clean).content == CLEAN

    service.expect_found(infected)
    line = FOUND_LINE.fullmatch(service.lines()[-1])
    assert line, f"not the shape that log agents read: {service.lines()[-1]}"
    assert line[3] == str(infected)
    assert line[4].startswith("Eicar-Test-Signature")


@pytest.mark.every_filesystem
def test_malware_made_under_protection_is_refused(place, volume):
    service = place.start(include=volume.path)
    create(volume / "new", EICAR)
    create(volume / "clean", CLEAN)
    assert open_as(NOBODY, volume / "new").error == "EPERM"
    assert open_as(NOBODY, volume / "clean").content == CLEAN
    service.expect_found(volume / "new")


@pytest.mark.parametrize("mode", [0o000, 0o600], ids=oct)
def test_permissions_of_the_file_do_not_keep_it_from_being_scanned(place, volume, mode):
    infected = volume.write("eicar", EICAR, mode)
    clean = volume.write("clean", CLEAN, mode)
    place.start(include=volume.path)
    assert open_as("root", infected).error == "EPERM"
    assert open_as("root", clean).content == CLEAN


@pytest.mark.every_filesystem
@pytest.mark.parametrize("user", [NOBODY, "root"])
def test_an_infected_program_cannot_be_executed(place, volume, user):
    script = b"#!/bin/sh\necho it ran\n# "
    binary = Path("/bin/true").read_bytes()
    for name, content in [("script", script), ("binary", binary)]:
        volume.write("infected-" + name, content + MARKER + b"\n", 0o755)
        volume.write("clean-" + name, content + b"\n", 0o755)
    place.start(include=volume.path, signatures=MARKER_SIGNATURE)

    for name in ("script", "binary"):
        assert execute_as(user, volume / ("infected-" + name)).error == "EPERM", f"an infected {name} was started"
        assert execute_as(user, volume / ("clean-" + name)).status == 0, f"a clean {name} was not started"
    by_interpreter = execute_as(user, "/bin/sh", volume / "infected-script")
    assert "it ran" not in by_interpreter.output
    assert by_interpreter.status != 0


NAMES = {
    "newline": b"a\nThu Dec 15 15:42:03 2022 -> /etc/passwd: Forged FOUND\nb",
    "carriage return": b"a\rb",
    "quotes": b"'it is \"quoted\" `so`'",
    "invalid UTF-8": b"\xff\xfe \xc3( \xed\xa0\x80 \xf8\x88\x80\x80\x80",
    "UTF-8": "Grüße, мир, 世界".encode(),
    "line separators of Unicode": "a\u2028b\u2029c\u0085d".encode(),
    "right-to-left override": "exe.\u202egpj".encode(),
    "terminal escape": b"\x1b[2J\x1b]0;title\x07",
    "backslashes": rb"\x41\n\\",
    "percent": b"%s%n%1$s%%",
    "the ends of a line": b" -> : X FOUND",
    "spaces": b"  leading and trailing  ",
    "longest": b"\n" * 255,
}


def unescape(text):
    """What the escapes stand for: nothing of a name may get lost."""
    raw = text.encode("utf-8", "surrogateescape")
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), raw)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_no_name_of_a_file_forges_a_line(place, volume, name):
    path = volume.write(name, EICAR)
    service = place.start(include=volume.path, scan_ahead=False)
    before = service.position()

    assert open_as(NOBODY, path).error == "EPERM"
    service.expect(r" FOUND$", before)
    # A line that is written after all others: what the name brought along must stand before it.
    end = volume / "end"
    create(end, EICAR)
    assert open_as(NOBODY, end).error == "EPERM"
    service.expect_found(end, before)

    lines = service.lines()[before:]
    assert len(lines) == 2, f"one finding made these lines: {lines[:-1]}"
    line = FOUND_LINE.fullmatch(lines[0])
    assert line, f"not one well-formed line: {lines[0]!r}"
    assert line[3].isprintable(), f"raw control characters or bytes in {line[3]!r}"
    assert unescape(line[3]) == os.fsencode(path)


def test_a_path_near_the_limit_of_the_kernel_is_refused_too(place, volume):
    directory = volume.path
    while len(bytes(directory)) < 3700:
        directory = directory / ("d" * 200)
    directory.mkdir(parents=True)
    infected, clean = directory / ("e" * 100), directory / ("c" * 100)
    infected.write_bytes(EICAR)
    clean.write_bytes(CLEAN)
    service = place.start(include=volume.path)
    assert open_as(NOBODY, infected).error == "EPERM"
    assert open_as(NOBODY, clean).content == CLEAN
    service.expect_found(infected)


@pytest.mark.skipif(not TESTFILES.is_dir(), reason=f"no {TESTFILES}: install clamav-testfiles")
def test_all_of_the_test_files_are_refused(place, volume):
    shutil.copytree(TESTFILES, volume / "files", symlinks=True)
    volume.write("files/clean", CLEAN)
    names = sorted(os.listdir(TESTFILES))
    assert len(names) >= 44
    service = place.start(include=volume.path, signatures=TESTFILES_SIGNATURE)

    results = open_all_as(NOBODY, [volume / "files" / name for name in names])
    let_through = [path for path, (error, _) in results.items() if error != "EPERM"]
    assert not let_through, "opened although infected"
    for name in names:
        service.expect_found(volume / "files" / name)
    assert open_as(NOBODY, volume / "files/clean").content == CLEAN


def ordinary_files(count, total_size):
    """Files of every kind that a system has, spread over /usr."""
    chosen, size = [], 0
    for directory in ("/usr/bin", "/usr/share", "/usr/lib", "/usr/include", "/usr/sbin"):
        in_directory = 0
        for parent, directories, names in os.walk(directory):
            directories.sort()
            for name in sorted(names):
                path = Path(parent) / name
                if path.is_symlink() or not path.is_file() or TESTFILES in path.parents:
                    continue
                length = path.stat().st_size
                if length > 300_000 or size + length > total_size:
                    continue
                chosen.append(path)
                size += length
                in_directory += 1
                if in_directory >= count // 4 or len(chosen) == count:
                    break
            if in_directory >= count // 4 or len(chosen) == count:
                break
    return chosen


def test_ordinary_files_stay_readable_byte_by_byte(place, volume):
    originals = ordinary_files(3000, 60 << 20)
    assert len(originals) > 1000, "this machine has too few files to tell"
    expected = {}
    for number, original in enumerate(originals):
        content = original.read_bytes()
        expected[bytes(volume.write(f"{number % 50}/{number}", content))] = (
            None,
            hashlib.sha256(content).hexdigest(),
        )
    infected = volume.write("0/infected", EICAR)
    service = place.start(include=volume.path)

    for attempt in ("first", "second"):  # the second finds most of them verified
        results = open_all_as(NOBODY, expected)
        wrong = {path: result for path, result in results.items() if result != expected[path]}
        assert not wrong, f"{len(wrong)} of {len(expected)} files are not what they were at the {attempt} open"
    assert open_as(NOBODY, infected).error == "EPERM"
    service.expect_found(infected)
    assert len(service.found()) == 1


@pytest.mark.parametrize("content, error", [(EICAR, "EPERM"), (CLEAN, None)], ids=["infected", "clean"])
def test_opens_of_one_file_at_a_time_share_one_scan(place, volume, content, error):
    path = volume.write("file", content)
    service = place.start(include=volume.path)
    service.stop_workers()
    openers = [place.keep(start_open(user, path)) for user in (NOBODY, "root") * 6]
    for opener in openers:
        opener.wait_held()
    service.continue_workers()

    assert [opener.opened().error for opener in openers] == [error] * len(openers)
    if error:
        service.expect_found(path)
        assert len(service.found()) == 1, "each scan makes a line: there was more than one"


def test_more_opens_at_a_time_than_workers_are_all_answered(place, volume):
    paths = {volume.write(f"clean{i}", b"%d" % i): None for i in range(20)}
    paths.update({volume.write(f"infected{i}", EICAR): "EPERM" for i in range(20)})
    service = place.start(include=volume.path)
    service.stop_workers()
    openers = {path: place.keep(start_open(NOBODY, path)) for path in paths}
    for opener in openers.values():
        opener.wait_held()
    service.continue_workers()
    assert {path: opener.opened().error for path, opener in openers.items()} == paths


def test_an_opener_that_is_killed_while_it_waits_leaves_nothing_behind(place, volume):
    infected, clean = volume.write("eicar", EICAR), volume.write("clean", CLEAN)
    service = place.start(include=volume.path)
    service.stop_workers()
    start_open(NOBODY, infected).wait_held().kill()
    service.continue_workers()
    assert open_as(NOBODY, clean).content == CLEAN
    assert open_as(NOBODY, infected).error == "EPERM"
