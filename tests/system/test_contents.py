# SPDX-License-Identifier: GPL-2.0-only
"""
Bytes that were verified are not scanned again, whichever file they are in: only complete clean verdicts, under the
same signatures, of workers that have not ended otherwise than they should.
"""
import signal
from pathlib import Path

import pytest
from harness import (
    CLEAN,
    EICAR,
    MARKER,
    MARKER_SIGNATURE,
    NOBODY,
    create,
    expect_protection,
    holdfast,
    open_all_as,
    open_as,
    run,
    start_steps,
    take_steps,
    wait_until,
    writing,
)

PLAIN_SIGNALS = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:handle_segv=0:handle_abort=0"}

GOOD_SIGNATURE = {"good.hdb": "0" * 32 + ":1:Good\n"}

# How many files a worker is given before it is replaced; see pool.h.
SCANS_MAX = 10000


@pytest.fixture
def volume(place, request):
    """Where the times of a file tell of each change."""
    return place.volume(getattr(request, "param", "ext4"))


def start(place, volume, **options):
    """Nothing is scanned but what is opened."""
    return place.start(include=volume / "home", environment=PLAIN_SIGNALS, scan_ahead=False, **options)


def n_same(service):
    """How many files were not scanned as their bytes were known."""
    return service.status()["counters"]["same_content"]


def n_known(service):
    return service.status()["content_cache"]["entries"]


def verify(service, path, content=CLEAN):
    """Has a file scanned. Its bytes are known then; those of one that was made just now, the next time."""
    before = n_known(service)

    def is_known():
        assert open_as(NOBODY, path).content == content
        return n_known(service) == before + 1

    wait_until(is_known, "its bytes are known")


# --- copies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("volume", ["ext4", "xfs", "btrfs"], indirect=True)
def test_a_copy_of_a_verified_file_is_not_scanned(place, volume, clean, infected):
    service = start(place, volume)
    verify(service, clean)
    for i in range(3):
        copy = volume / f"home/copy{i}"
        create(copy, CLEAN)
        assert open_as(NOBODY, copy).content == CLEAN
        assert n_same(service) == i + 1
    assert n_known(service) == 1
    expect_protection(infected, clean)
    shown = holdfast(service, "status").stdout
    assert "contents    1 of 262144 known; 3 files" in shown, shown


def test_a_copy_of_malware_is_refused(place, volume, infected, clean):
    service = start(place, volume)
    for i in range(3):
        assert open_as(NOBODY, infected).error == "EPERM"
        copy = volume / f"home/copy{i}"
        create(copy, EICAR)
        assert open_as(NOBODY, copy).error == "EPERM"
    assert (n_known(service), n_same(service)) == (0, 0)


def test_a_copy_that_differs_is_scanned(place, volume, clean):
    service = start(place, volume, signatures=MARKER_SIGNATURE)
    verify(service, clean)
    for name, content in {"longer": CLEAN + b"x", "other": CLEAN[:-1] + b"x", "shorter": CLEAN[:-1]}.items():
        create(volume / "home" / name, content)
        verify(service, volume / "home" / name, content)
    create(volume / "home/marked", CLEAN + MARKER)
    assert open_as(NOBODY, volume / "home/marked").error == "EPERM"
    assert n_same(service) == 0


def test_it_does_not_matter_whose_the_files_are(place, volume, clean):
    service = start(place, volume)
    verify(service, clean)
    copy = volume / "home/copy"
    create(copy, CLEAN)
    run("chown", f"{NOBODY}:", copy)
    assert open_as(NOBODY, copy).content == CLEAN
    assert n_same(service) == 1
    # and what is a user's vouches for what is root's
    mine = volume / "home/mine"
    create(mine, CLEAN * 2)
    run("chown", f"{NOBODY}:", mine)
    verify(service, mine, CLEAN * 2)
    create(volume / "home/roots", CLEAN * 2)
    assert open_as("root", volume / "home/roots").content == CLEAN * 2
    assert n_same(service) == 2


def test_a_link_to_what_was_verified_says_nothing_of_what_it_becomes(place, volume, clean):
    service = start(place, volume)
    verify(service, clean)
    take_steps("root", ("link", clean, volume / "home/link"))
    take_steps("root", *writing(volume / "home/link", EICAR, "O_TRUNC"))
    for name in ("clean", "link"):
        assert open_as(NOBODY, volume / "home" / name).error == "EPERM"
    assert n_same(service) == 0


def test_large_files_are_known_too(place, volume):
    content = bytes(range(256)) * 8192
    large = volume.write("home/large", content)
    service = start(place, volume, engine={"workers": 1, "max-file-size": "4M"})
    assert open_as(NOBODY, large).error is None
    wait_until(lambda: n_known(service) == 1, "its bytes are known")
    create(volume / "home/copy", content)
    assert open_as(NOBODY, volume / "home/copy").error is None
    assert n_same(service) == 1


# --- what is not known -----------------------------------------------------------------------------------------


def test_what_could_not_be_scanned_as_a_whole_is_not_known(place, volume):
    volume.mkdir("home")
    service = start(place, volume, engine={"max-file-size": "1K"}, on_incomplete="allow")
    service.disturbed = True
    for name in ("large", "copy"):
        create(volume / "home" / name, b"x" * 2000)
        assert open_as(NOBODY, volume / "home" / name).error is None
    counters = service.status()["counters"]
    assert counters["verdicts"]["incomplete"] == 2
    assert (n_known(service), counters["same_content"]) == (0, 0)


def test_what_has_a_writer_is_not_known(place, volume, clean):
    service = start(place, volume)
    path = volume / "home/written"
    steps = [("open", "file", path, ["O_RDWR", "O_CREAT"]), ("write", "file", CLEAN), ("wait",)]
    place.keep(start_steps("root", *steps)).wait_for_about()
    for _ in range(3):
        assert open_as(NOBODY, path).content == CLEAN
    assert (n_known(service), n_same(service)) == (0, 0)
    verify(service, clean)
    assert open_as(NOBODY, path).content == CLEAN
    assert n_same(service) == 1, "but it is recognized"


def test_under_other_signatures_bytes_are_scanned_again(place, volume):
    path = volume.write("home/marked", MARKER)
    service = start(place, volume, signatures=GOOD_SIGNATURE)
    verify(service, path, MARKER)
    service.reload()
    create(volume / "home/same", MARKER)
    assert open_as(NOBODY, volume / "home/same").content == MARKER, "the signatures are the same"
    assert n_same(service) == 1
    service.write_signatures(MARKER_SIGNATURE)
    service.reload()
    create(volume / "home/copy", MARKER)
    for name in ("marked", "same", "copy"):
        assert open_as(NOBODY, volume / "home" / name).error == "EPERM"
    assert n_same(service) == 1


def test_who_wants_a_file_scanned_has_it_scanned(place, volume, clean):
    service = start(place, volume)
    verify(service, clean)
    for name in ("one", "other"):
        create(volume / name, CLEAN)
    assert holdfast(service, "scan", "--all", volume / "one").returncode == 0
    assert n_same(service) == 0
    assert holdfast(service, "scan", volume / "other").returncode == 0
    assert n_same(service) == 1


def test_it_can_be_switched_off(place, volume, clean):
    service = start(place, volume, engine={"content-cache": 0})
    assert open_as(NOBODY, clean).content == CLEAN
    create(volume / "home/copy", CLEAN)
    assert open_as(NOBODY, volume / "home/copy").content == CLEAN
    assert service.status()["content_cache"] == {"entries": 0, "capacity": 0}
    assert n_same(service) == 0
    assert "contents " not in holdfast(service, "status").stdout

    service.sections["engine"]["content-cache"] = "64K"
    service.write_config()
    service.reload()
    assert service.status()["content_cache"]["capacity"] == 1024
    create(volume / "home/third", CLEAN * 3)
    verify(service, volume / "home/third", CLEAN * 3)
    create(volume / "home/fourth", CLEAN * 3)
    assert open_as(NOBODY, volume / "home/fourth").content == CLEAN * 3
    assert n_same(service) == 1


# --- workers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGSYS, signal.SIGKILL], ids=lambda n: n.name)
def test_what_a_worker_vouched_for_goes_with_it(place, volume, clean, number):
    service = start(place, volume, engine={"workers": 1})
    verify(service, clean)
    (worker,) = service.signal("worker", number)
    wait_until(lambda: service.workers(1) != [worker] and n_known(service) == 0, "it is replaced, and not believed")
    create(volume / "home/copy", CLEAN)
    verify(service, volume / "home/copy")
    assert n_same(service) == 0


def test_a_worker_cannot_write_what_it_reads(place, volume, clean):
    service = start(place, volume)
    verify(service, clean)
    for role in ("engine", "worker"):
        for pid in service.pids(role):
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            (line,) = [line for line in lines if "holdfast-contents" in line]
            assert line.split()[1] == "r--s"


def test_what_is_known_survives_the_guard(place, volume, clean, infected):
    service = start(place, volume)
    service.standbys()
    verify(service, clean)
    for i in range(3):
        service.lose_guard()
        assert n_known(service) == 1
        create(volume / f"home/copy{i}", CLEAN)
        assert open_as(NOBODY, volume / f"home/copy{i}").content == CLEAN
        assert n_same(service) == i + 1
        service.standbys()
    expect_protection(infected, clean)
    # A worker is as little believed by those that follow.
    service.signal("worker", signal.SIGSEGV)
    wait_until(lambda: n_known(service) == 0, "what it vouched for is forgotten")
    # Those that are forked now have the same table.
    service.workers()
    create(volume / "home/other", CLEAN * 2)
    verify(service, volume / "home/other", CLEAN * 2)
    create(volume / "home/copy", CLEAN * 2)
    assert open_as(NOBODY, volume / "home/copy").content == CLEAN * 2
    assert n_same(service) == 4


def test_a_new_family_of_guards_begins_anew(place, volume, clean, infected):
    service = start(place, volume)
    verify(service, clean)
    after = service.position()
    service.lose_family()
    service.expect(r"a new guard is protecting again", after)
    service.workers()
    assert n_known(service) == 0
    create(volume / "home/copy", CLEAN)
    verify(service, volume / "home/copy")
    create(volume / "home/more", CLEAN)
    assert open_as(NOBODY, volume / "home/more").content == CLEAN
    assert n_same(service) == 1
    expect_protection(infected, clean)


def test_an_engine_that_is_replaced_finds_what_there_is(place, volume, clean):
    service = start(place, volume)
    verify(service, clean)
    (engine,) = service.signal("engine", signal.SIGKILL)
    wait_until(lambda: service.pids("engine") not in ([], [engine]), "there is a new engine")
    wait_until(lambda: n_known(service) == 1 and len(service.workers()) == 2, "its workers are there")
    create(volume / "home/copy", CLEAN)
    assert open_as(NOBODY, volume / "home/copy").content == CLEAN
    assert n_same(service) == 1


@pytest.mark.deadline(300)
def test_workers_are_replaced_while_nobody_waits_for_it(place, volume, clean, infected):
    """One opens as fast as he can, and all answers are right."""
    n_files = SCANS_MAX + 500
    volume.mkdir("home/many")
    paths = [volume / f"home/many/{i}" for i in range(n_files)]
    for i, path in enumerate(paths):
        path.write_bytes(EICAR if i % 50 == 0 else b"%d" % i)
    service = start(place, volume, engine={"workers": 1})
    (worker,) = service.workers(1)
    verify(service, clean)
    opened = open_all_as(NOBODY, paths, timeout=200)
    wrong = [path for i, path in enumerate(paths) if (opened[bytes(path)][0] == "EPERM") != (i % 50 == 0)]
    assert not wrong
    counters = service.status()["counters"]
    assert counters["workers_replaced"] == 1
    assert counters["workers_lost"] == counters["timeouts"] == 0
    assert service.workers(1) != [worker]
    assert n_known(service) > SCANS_MAX * 9 // 10, "what it vouched for stays"
    create(volume / "home/copy", CLEAN)
    assert open_as(NOBODY, volume / "home/copy").content == CLEAN
    assert n_same(service) == 1
    expect_protection(infected, clean)
