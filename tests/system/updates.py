# SPDX-License-Identifier: GPL-2.0-only
"""
What the tests of fresh signatures share: genuinely signed databases and the cdiffs between them, what a mirror has
of those, and what came of an update.
"""
import functools
import io
import json
import re
import shutil
import tarfile

import pytest
from harness import SANITIZER_REPORT, SHARED, holdfast, run

# Six versions of a small database called "test".
DATA = SHARED / "testdata" / "freshclam"
NEWEST = 6

needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"there is no {DATA}")

# Exit codes of holdfast update.
UPDATED, UP_TO_DATE, FAILED, COOL_DOWN = range(4)

# Requests, as asked() tells of them.
HEAD, WHOLE = "test.cvd 0-511", "test.cvd"


def cdiffs(first, last):
    """What leads from the version before the first to the last."""
    return [f"test-{version}.cdiff" for version in range(first, last + 1)]


def size_of(name):
    return (DATA / name).stat().st_size


def publish(directory, version, patches=range(2, NEWEST + 1), database="test"):
    """Makes a mirror's directory have this version of the database and these cdiffs, and nothing else of it."""
    for path in [*directory.glob(f"{database}.c?d"), *directory.glob(f"{database}-*")]:
        path.unlink()
    shutil.copy(DATA / f"test-{version}.cvd", directory / f"{database}.cvd")
    for patch in patches:
        if patch <= version:
            shutil.copy(DATA / f"test-{patch}.cdiff", directory)


def advertise(directory, version):
    """A rule: the head of the database is that of another version than the whole."""
    shutil.copy(DATA / f"test-{version}.cvd", directory / f"head-{version}.cvd")
    return {"path": "/test.cvd", "advertise": f"head-{version}.cvd"}


def asked(mirror):
    """What was asked for since this was asked: "test.cvd 0-511" is a request for so much of it only."""
    requests = mirror.requests()
    mirror.forget()
    return [
        " ".join(filter(None, (request["path"].lstrip("/"), (request["range"] or "").removeprefix("bytes="))))
        for request in requests
    ]


# --- samples ---------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def sample(version):
    """Content that is found from this version on, by the last signature of its body that the database has."""
    data = (DATA / f"test-{version}.cvd").read_bytes()[512:]
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        text = archive.extractfile("test.ndb").read().decode()
    return bytes.fromhex(text.rstrip("\n").rsplit("\n", 1)[1].split(":")[3])


SAMPLED = (5, 6)


def found_in(version):
    """Which samples a version finds."""
    return {sampled for sampled in SAMPLED if sampled <= version}


def finds(service):
    """Which samples are found with what is in force, by an engine that loads it afresh."""
    paths = {}
    for version in SAMPLED:
        paths[version] = service.directory / f"sample-{version}"
        paths[version].write_bytes(sample(version))
    done = holdfast(service, "scan", "--standalone", *paths.values())
    assert done.returncode in (0, 1), f"the set does not load: {done.stdout}{done.stderr}"
    return {version for version, path in paths.items() if f"{path}: " in done.stdout}


# --- updates ---------------------------------------------------------------------------------------------------


def make_service(place, *mirrors, **options):
    """A service that asks mirrors for the database; nothing that is not asked for by hand, unless told."""
    fetch = {
        "mirror": [mirror if isinstance(mirror, str) else mirror.url for mirror in mirrors],
        "database": "test",
        "check-every": 0,
        **options.pop("fetch", {}),
    }
    include = options.pop("include", None) or place.base / "nothing"
    return place.service(include=include, fetch=fetch, **options)


def update(service, expected, *words, **options):
    done = holdfast(service, "update", *words, **options)
    said = done.stdout + done.stderr
    assert done.returncode == expected, f"exit {done.returncode} instead of {expected}:\n{said}"
    assert not SANITIZER_REPORT.search(said), said
    return said


def install(service, mirror, version):
    """Brings a service to a version, by its mirror, which has nothing newer then."""
    publish(mirror.directory, version)
    update(service, UPDATED)
    assert in_force(service) == {"test.cvd": version}
    mirror.forget()


def current(service):
    return service.signatures / "current"


def version_of(path):
    """A .cvd or .cld says it in its head."""
    return int(path.read_bytes()[:512].split(b":")[2])


def in_force(service, directory=None):
    """What was published: {name: version, or the text of a file that has none}."""
    directory = directory or current(service)
    if not directory.exists():
        return {}
    return {
        path.name: version_of(path) if re.search(r"\.c[vl]d$", path.name) else path.read_text()
        for path in directory.iterdir()
    }


def expect_in_force(service, name, version):
    """Under this name, and it loads."""
    assert in_force(service) == {name: version}
    assert finds(service) == found_in(version)


def state(service):
    return json.loads((service.signatures / "fetch" / "state.json").read_text())


def source(service, url):
    (entry,) = (entry for entry in state(service)["sources"] if entry["url"] == url)
    return entry


def item(service, name):
    (entry,) = (entry for entry in state(service)["items"] if entry["name"] == name)
    return entry


def tree_of(directory):
    """Everything below a directory, to compare."""
    return run("find", directory, "-printf", "%P %y %s %l\n").splitlines()
