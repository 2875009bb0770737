# SPDX-License-Identifier: GPL-2.0-only
"""A clean verdict is for the content that was scanned, under the signatures that it was scanned with."""
import re
from collections import namedtuple
from pathlib import Path

import pytest
from harness import (
    ALL_FILESYSTEMS,
    CLEAN,
    EICAR,
    MARKER,
    MARKER_SIGNATURE,
    NOBODY,
    Actor,
    encode_path,
    finish_steps,
    need,
    open_as,
    read_process,
    run,
    start_open,
    start_steps,
    take_steps,
    wait_until,
    writing,
)

# As long as what replaces it: neither the size nor anything else than the content tells them apart.
HARMLESS = b"x" * len(EICAR)

BLOCK = 4096
HALF = len(MARKER) // 2

# Malware once there is a hole between two markers; with anything else there it is not.
HOLE = 16
SIGNATURES = {"hole.ndb": f"Hole.Test:0:*:{(MARKER[:HALF] + bytes(HOLE) + MARKER[HALF:]).hex()}\n", **MARKER_SIGNATURE}

# A way to change a file. What stands between "open" and "end" can be done with a descriptor that was opened at any
# time; before is what the file holds until then, only are the filesystems that have this way.
Rewrite = namedtuple("Rewrite", "open change end before only")


def through_a_descriptor(*change, ready=(), end=(("close", "file"),), before=HARMLESS, only=ALL_FILESYSTEMS):
    return Rewrite((("open", "file", "{path}", ["O_RDWR"]), *ready), change, end, before, only)


# The source is out of scope, or it could not be opened.
SOURCE = (("open", "source", "{outside}", ["O_RDONLY"]),)

DESCRIPTOR_REWRITES = {
    "write": through_a_descriptor(("write", "file", EICAR)),
    "pwrite": through_a_descriptor(("pwrite", "file", EICAR)),
    "truncate and write": through_a_descriptor(("truncate", "file", 0), ("write", "file", EICAR)),
    "O_DIRECT": Rewrite(
        (("optional", ["EINVAL"], "open", "file", "{path}", ["O_RDWR", "O_DIRECT"]),),
        (("write_direct", "file", EICAR.ljust(BLOCK, b"\n")),),
        (("close", "file"),),
        b"x" * BLOCK,
        ALL_FILESYSTEMS,
    ),
    "punch hole": through_a_descriptor(
        ("punch_hole", "file", HALF, HOLE), before=MARKER[:HALF] + b"x" * HOLE + MARKER[HALF:]
    ),
    "collapse range": through_a_descriptor(
        ("collapse_range", "file", BLOCK, BLOCK),
        before=MARKER[:HALF].rjust(BLOCK, b"x") + b"x" * BLOCK + MARKER[HALF:],
        only=("ext4", "xfs", "overlay"),
    ),
    "copy_file_range": through_a_descriptor(("copy_range", "source", "file", len(EICAR)), ready=SOURCE),
    "sendfile": through_a_descriptor(("sendfile", "source", "file", len(EICAR)), ready=SOURCE),
    "splice": through_a_descriptor(("splice", "source", "file", len(EICAR)), ready=SOURCE),
    "reflink": through_a_descriptor(("clone", "source", "file"), ready=SOURCE, only=("xfs", "btrfs")),
    "io_uring": through_a_descriptor(
        ("write_by_ring", "file", EICAR), ready=(("optional", ["ENOSYS", "EPERM"], "ring"),)
    ),
    "io_submit": through_a_descriptor(("write_by_aio", "file", EICAR)),
    "mapped store": through_a_descriptor(
        ("store", "file", EICAR), ready=(("map", "file"),), end=(("unmap", "file"), ("close", "file"))
    ),
    "mapped store and msync": through_a_descriptor(
        ("store", "file", EICAR), ("sync", "file"), ready=(("map", "file"),), end=(("unmap", "file"), ("close", "file"))
    ),
    "mapped store after the file was closed": through_a_descriptor(
        ("store", "file", EICAR), ready=(("map", "file"), ("close", "file")), end=(("unmap", "file"),)
    ),
}


def by_name(*steps, only=ALL_FILESYSTEMS):
    return Rewrite((), steps, (), HARMLESS, only)


# How a verified file may become another; {path} is the file, {other} one beside it, {upper} and {lower} are the
# file in the layers of an overlay.
REWRITES = {
    **DESCRIPTOR_REWRITES,
    "byte by byte": through_a_descriptor(*(("write", "file", EICAR[i : i + 1]) for i in range(len(EICAR)))),
    "O_TRUNC": by_name(*writing("{path}", EICAR, "O_TRUNC")),
    "rename over": by_name(*writing("{other}", EICAR, "O_CREAT"), ("rename", "{other}", "{path}")),
    "exchange": by_name(*writing("{other}", EICAR, "O_CREAT"), ("exchange", "{other}", "{path}")),
    "unlink and create": by_name(("unlink", "{path}"), *writing("{path}", EICAR, "O_CREAT")),
    "hard link": by_name(("link", "{path}", "{other}"), *writing("{other}", EICAR)),
    "the upper layer": by_name(*writing("{upper}", EICAR), only=("overlay",)),
    "a store mapped in the upper layer": by_name(
        ("open", "file", "{upper}", ["O_RDWR"]),
        ("map", "file"),
        ("close", "file"),
        ("store", "file", EICAR),
        ("unmap", "file"),
        only=("overlay",),
    ),
    "the lower layer": by_name(*writing("{lower}", EICAR), only=("overlay",)),
}


def on_each_filesystem(rewrites):
    return pytest.mark.parametrize(
        "volume, rewrite",
        [
            pytest.param(kind, rewrite, id=f"{kind}-{name}")
            for name, rewrite in rewrites.items()
            for kind in ALL_FILESYSTEMS
            if kind in rewrite.only
        ],
        indirect=["volume"],
    )


def filled(steps, **paths):
    """The steps with the paths of a test in them."""
    return [
        [word.format(**paths) if isinstance(word, str) and "{" in word else word for word in step] for step in steps
    ]


def write_files(volume, before=HARMLESS):
    return {
        "path": str(volume.write("home/file", before)),
        "other": str(volume / "home/other"),
        "outside": str(volume.write("outside", EICAR)),
        "upper": str(volume.upper and volume.upper / "home/file"),
        "lower": str(volume.lower and volume.lower / "home/file"),
    }


@pytest.fixture
def paths(volume):
    return write_files(volume)


def verify(path, content=HARMLESS):
    """Twice: the first open scans it, the second finds what was remembered."""
    replies = Actor("read", NOBODY, paths=[encode_path(path)] * 2).finish()
    assert [reply["content"] for reply in replies] == [content] * 2


@pytest.mark.all_filesystems
def test_a_verified_file_is_not_scanned_again(place, volume, paths):
    """The other tests here are about dropping this memory; this one holds that there is something to drop."""
    if volume.kind == "overlay":
        need("memory on overlays")
    service = place.start(include=volume / "home")
    verify(paths["path"])
    service.stop_workers()
    assert open_as(NOBODY, paths["path"]).content == HARMLESS, "a verified file had to wait for a worker"
    assert open_as("root", paths["path"]).content == HARMLESS, "and for another user too"


def expect_malware(service, paths):
    for user in (NOBODY, "root"):
        assert open_as(user, paths["path"]).error == "EPERM", "it is malware now"
    names = "|".join(re.escape(paths[name]) for name in ("path", "other"))  # a file may have both
    service.expect(rf" -> ({names}): \S+ FOUND$")


@on_each_filesystem(REWRITES)
def test_a_verified_file_that_becomes_malware_is_refused(place, volume, rewrite):
    paths = write_files(volume, rewrite.before)
    if "{upper}" in str(rewrite):
        (volume / "home/file").chmod(0o600)  # so that it is in the upper layer
        (volume / "home/file").chmod(0o644)
    service = place.start(include=volume / "home", signatures=SIGNATURES)
    verify(paths["path"], rewrite.before)
    take_steps("root", *filled((*rewrite.open, *rewrite.change, *rewrite.end), **paths))
    expect_malware(service, paths)


@on_each_filesystem(DESCRIPTOR_REWRITES)
def test_a_writer_from_before_the_verification_cannot_slip_malware_in(place, volume, rewrite):
    paths = write_files(volume, rewrite.before)
    service = place.start(include=volume / "home", signatures=SIGNATURES)
    steps = filled((*rewrite.open, ("wait",), *rewrite.change, *rewrite.end), **paths)
    writer = place.keep(start_steps("root", *steps)).wait_for_about()
    verify(paths["path"], rewrite.before)
    writer.go_on()
    finish_steps(writer)
    expect_malware(service, paths)


@on_each_filesystem(DESCRIPTOR_REWRITES)
def test_a_writer_that_keeps_what_it_writes_through_cannot_slip_malware_in(place, volume, rewrite):
    """Until it lets go nobody tells of a store or of io_submit(2), and nothing is said here of opens before that."""
    paths = write_files(volume, rewrite.before)
    service = place.start(include=volume / "home", signatures=SIGNATURES)
    verify(paths["path"], rewrite.before)
    steps = filled((*rewrite.open, *rewrite.change, ("wait",), *rewrite.end), **paths)
    writer = place.keep(start_steps("root", *steps)).wait_for_about()
    open_as(NOBODY, paths["path"])
    writer.go_on()
    finish_steps(writer)
    expect_malware(service, paths)


@pytest.mark.all_filesystems
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


@pytest.mark.all_filesystems
def test_a_file_that_changes_while_its_opener_waits_is_judged_by_what_it_became(place, volume, paths):
    service = place.start(include=volume / "home")
    opened, *written = writing(paths["path"], EICAR)
    writer = place.keep(start_steps("root", opened, ("wait",), *written)).wait_for_about()
    service.stop_workers()
    opener = place.keep(start_open(NOBODY, paths["path"])).wait_held()
    writer.go_on()
    finish_steps(writer)
    service.continue_workers()
    assert opener.opened().error == "EPERM"


@pytest.mark.all_filesystems
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


@pytest.mark.all_filesystems
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
    service.continue_workers(stopped)
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
    service.continue_workers(idle)

    service.write_signatures(MARKER_SIGNATURE)
    service.reload()
    wait_until(lambda: read_process(idle) is None, "the old engine's idle worker has ended")
    for path in marked:
        assert open_as(NOBODY, path).error == "EPERM", "judged by the old signatures"
        assert service.status()["signatures"]["count"] == 2, "the old engine is back"
    service.continue_workers(holder)
    assert opener.opened().content == CLEAN
    for path in marked:
        assert open_as(NOBODY, path).error == "EPERM", "judged by the old signatures"
    service.workers()
