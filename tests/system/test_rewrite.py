# SPDX-License-Identifier: GPL-2.0-only
"""A clean verdict is for the content that was scanned, under the signatures that it was scanned with."""
import re
import signal
from pathlib import Path

import pytest
from harness import (
    CLEAN,
    EICAR,
    MARKER,
    MARKER_SIGNATURE,
    NOBODY,
    finish_steps,
    open_as,
    read_process,
    run,
    send_signal,
    start_open,
    start_steps,
    take_steps,
    wait_until,
    writing,
)

# As long as what replaces it: neither the size nor anything else than the content tells them apart.
HARMLESS = b"x" * len(EICAR)

# How a verified file may become another; {path} is the file, {other} one beside it.
REWRITES = {
    "write": writing("{path}", EICAR),
    "O_TRUNC": writing("{path}", EICAR, "O_TRUNC"),
    "truncate and write": (
        ("open", "file", "{path}", ["O_RDWR"]),
        ("truncate", "file", 0),
        ("write", "file", EICAR),
        ("close", "file"),
    ),
    "byte by byte": (
        ("open", "file", "{path}", ["O_RDWR"]),
        *(("write", "file", EICAR[i : i + 1]) for i in range(len(EICAR))),
        ("close", "file"),
    ),
    "mapped store": (
        ("open", "file", "{path}", ["O_RDWR"]),
        ("map", "file"),
        ("store", "file", EICAR),
        ("unmap", "file"),
        ("close", "file"),
    ),
    "mapped store after the file was closed": (
        ("open", "file", "{path}", ["O_RDWR"]),
        ("map", "file"),
        ("close", "file"),
        ("store", "file", EICAR),
        ("unmap", "file"),
    ),
    "rename over": (*writing("{other}", EICAR, "O_CREAT"), ("rename", "{other}", "{path}")),
    "unlink and create": (("unlink", "{path}"), *writing("{path}", EICAR, "O_CREAT")),
    "hard link": (("link", "{path}", "{other}"), *writing("{other}", EICAR)),
    "copy_file_range": (
        # The source is out of scope, or it could not be opened.
        ("open", "source", "{outside}", ["O_RDONLY"]),
        ("open", "file", "{path}", ["O_RDWR"]),
        ("copy_range", "source", "file", len(EICAR)),
        ("close", "file"),
    ),
}


def filled(steps, **paths):
    """The steps with the paths of a test in them."""
    return [
        [word.format(**paths) if isinstance(word, str) and "{" in word else word for word in step] for step in steps
    ]


@pytest.fixture
def paths(volume):
    return {
        "path": str(volume.write("home/file", HARMLESS)),
        "other": str(volume / "home/other"),
        "outside": str(volume.write("outside", EICAR)),
    }


def verify(path):
    """Twice: the first open scans it, the second finds what was remembered."""
    for _ in range(2):
        assert open_as(NOBODY, path).content == HARMLESS


@pytest.mark.every_filesystem
def test_a_verified_file_is_not_scanned_again(place, volume, paths):
    """The other tests here are about dropping this memory; this one holds that there is something to drop."""
    service = place.start(include=volume / "home")
    verify(paths["path"])
    service.stop_workers()
    assert open_as(NOBODY, paths["path"]).content == HARMLESS, "a verified file had to wait for a worker"
    assert open_as("root", paths["path"]).content == HARMLESS, "and for another user too"


@pytest.mark.every_filesystem
@pytest.mark.parametrize("steps", REWRITES.values(), ids=REWRITES.keys())
def test_a_verified_file_that_becomes_malware_is_refused(place, volume, paths, steps):
    service = place.start(include=volume / "home")
    verify(paths["path"])
    take_steps("root", *filled(steps, **paths))
    for user in (NOBODY, "root"):
        assert open_as(user, paths["path"]).error == "EPERM", "it is malware now"
    service.expect_found(paths["path"])


# Writers that had the file open before it was verified.
OPEN_WRITERS = {
    "write": (
        ("open", "file", "{path}", ["O_RDWR"]),
        ("wait",),
        ("write", "file", EICAR),
        ("close", "file"),
    ),
    "mapped store": (
        ("open", "file", "{path}", ["O_RDWR"]),
        ("map", "file"),
        ("close", "file"),
        ("wait",),
        ("store", "file", EICAR),
        ("unmap", "file"),
    ),
}


@pytest.mark.every_filesystem
@pytest.mark.parametrize("steps", OPEN_WRITERS.values(), ids=OPEN_WRITERS.keys())
def test_a_writer_from_before_the_verification_cannot_slip_malware_in(place, volume, paths, steps):
    service = place.start(include=volume / "home")
    writer = place.keep(start_steps("root", *filled(steps, **paths))).wait_for_about()
    verify(paths["path"])
    writer.go_on()
    finish_steps(writer)
    assert open_as(NOBODY, paths["path"]).error == "EPERM"
    service.expect_found(paths["path"])


@pytest.mark.every_filesystem
def test_a_writer_whose_mapping_lives_on_cannot_slip_malware_in(place, volume, paths):
    """Until it is unmapped nobody tells of the store."""
    place.start(include=volume / "home")
    path = paths["path"]
    writer = start_steps(
        "root",
        ("open", "file", path, ["O_RDWR"]),
        ("map", "file"),
        ("close", "file"),
        ("wait",),
        ("store", "file", EICAR),
        ("wait",),
    )
    place.keep(writer).wait_for_about()
    verify(path)
    writer.go_on()
    writer.wait_for_about()
    assert open_as(NOBODY, path).error == "EPERM"
    writer.go_on()
    finish_steps(writer)


def bytes_read(pid):
    return int(re.search(r"^rchar: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)[1])


def test_what_is_written_behind_the_back_of_a_scan_is_found(place, volume):
    """The worker is done with the beginning of the file when that becomes malware."""
    path = volume.write("home/file", bytes(256) + bytes(range(256)) * (90 << 12))
    service = place.start(include=volume / "home", signatures=MARKER_SIGNATURE, engine={"workers": 1})
    writer = start_steps(
        "root", ("open", "file", path, ["O_RDWR"]), ("wait",), ("write", "file", MARKER), ("close", "file")
    )
    place.keep(writer).wait_for_about()
    (worker,) = service.workers(1)
    before = bytes_read(worker)
    opener = place.keep(start_open(NOBODY, path)).wait_held()
    # libclamav reads a file once for its hash, and then to look for signatures.
    middle = before + path.stat().st_size + (8 << 20)
    wait_until(lambda: bytes_read(worker) > middle or not opener.is_held(), "the worker is in the middle of the file")
    if not opener.is_held():
        pytest.skip("this libclamav does not read a file twice: its progress cannot be seen")
    writer.go_on()
    finish_steps(writer)
    assert opener.opened().error == "EPERM", "it was judged by content that was gone before the answer"
    service.expect_found(path)


@pytest.mark.every_filesystem
def test_a_file_that_changes_while_its_opener_waits_is_judged_by_what_it_became(place, volume, paths):
    service = place.start(include=volume / "home")
    writer = place.keep(start_steps("root", *filled(OPEN_WRITERS["write"], **paths))).wait_for_about()
    service.stop_workers()
    opener = place.keep(start_open(NOBODY, paths["path"])).wait_held()
    writer.go_on()
    finish_steps(writer)
    service.continue_workers()
    assert opener.opened().error == "EPERM"


@pytest.mark.every_filesystem
def test_malware_that_becomes_clean_can_be_opened(place, volume, paths):
    """Its refusal is not remembered beyond its content either."""
    service = place.start(include=volume / "home", exclude_user="daemon")
    verify(paths["path"])
    take_steps("root", *writing(paths["path"], EICAR))
    assert open_as(NOBODY, paths["path"]).error == "EPERM"
    # Nobody who is held can open it for writing: only an excluded user gets that far.
    run("chown", "daemon", paths["path"])
    take_steps("daemon", *writing(paths["path"], HARMLESS, "O_TRUNC"))
    verify(paths["path"])
    service.expect_found(paths["path"])


@pytest.mark.every_filesystem
def test_a_signature_added_by_a_reload_blocks_a_file_verified_before(place, volume):
    path, clean = volume.write("file", b"before " + MARKER + b" after"), volume.write("clean", CLEAN)
    service = place.start(include=volume.path, signatures={})
    for _ in range(2):
        assert open_as(NOBODY, path).error is None

    service.write_signatures(MARKER_SIGNATURE)
    service.reload()
    assert open_as(NOBODY, path).error == "EPERM"
    assert open_as(NOBODY, clean).content == CLEAN
    service.expect_found(path)

    # And taken away again it is clean again, without a restart.
    (service.signatures / "marker.ndb").unlink()
    service.write_signatures({"other.ndb": f"Other:0:*:{b'something-quite-else'.hex()}\n"})
    service.reload()
    assert open_as(NOBODY, path).error is None


def test_a_scan_under_way_during_a_reload_is_judged_by_the_new_signatures(place, volume):
    """The request was given to a worker of the old engine, which knows nothing of the new signature."""
    path = volume.write("file", b"before " + MARKER + b" after")
    other = volume.write("other", MARKER)
    service = place.start(include=volume.path, signatures={}, engine={"workers": 1})
    (stopped,) = service.stop_workers(1)
    early = place.keep(start_open(NOBODY, path)).wait_held()
    service.write_signatures(MARKER_SIGNATURE)
    service.reload()
    # The old engine's only worker stands still: whoever answers this belongs to the new engine.
    assert open_as(NOBODY, other).error == "EPERM"

    late = place.keep(start_open(NOBODY, path)).wait_held()
    send_signal(stopped, signal.SIGCONT)
    assert late.opened().error == "EPERM", "it was opened after the reload, and joined a scan from before"
    early.finish()
    assert open_as(NOBODY, path).error == "EPERM"
    wait_until(lambda: read_process(stopped) is None, "the old engine's worker has ended")


def test_signatures_of_yesterday_never_come_back(place, volume):
    """An engine that is superseded in the middle of a scan lives on until that is done, with workers to spare."""
    held = volume.write("held", CLEAN)
    marked = [volume.write(f"marked{i}", MARKER + b"%d" % i) for i in range(20)]
    service = place.start(include=volume.path, signatures={})
    old = service.stop_workers()
    opener = place.keep(start_open(NOBODY, held)).wait_held()
    holder = service.holder()
    (idle,) = set(old) - {holder}
    send_signal(idle, signal.SIGCONT)

    service.write_signatures(MARKER_SIGNATURE)
    service.reload()
    wait_until(lambda: read_process(idle) is None, "the old engine's idle worker has ended")
    for path in marked:
        assert open_as(NOBODY, path).error == "EPERM", "judged by the old signatures"
        assert service.status()["signatures"]["count"] == 2, "the old engine is back"
    send_signal(holder, signal.SIGCONT)
    assert opener.opened().content == CLEAN
    for path in marked:
        assert open_as(NOBODY, path).error == "EPERM", "judged by the old signatures"
    service.workers()
