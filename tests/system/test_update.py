# SPDX-License-Identifier: GPL-2.0-only
"""
holdfast update where no service runs: what goes over the wire, what is in force afterwards, and what is refused.

How servers that drip, stall or never end are got rid of is for the unit tests of the fetcher: it is a matter of time.
"""
import email.utils
import os
import re
import signal
import time

import pytest
from harness import USER, finish_holdfast, holdfast, start_holdfast, wait_until
from updates import (
    COOL_DOWN,
    DATA,
    FAILED,
    HEAD,
    NEWEST,
    UP_TO_DATE,
    UPDATED,
    WHOLE,
    advertise,
    asked,
    cdiffs,
    current,
    expect_in_force,
    in_force,
    install,
    item,
    make_service,
    needs_data,
    publish,
    size_of,
    source,
    update,
)

pytestmark = needs_data


@pytest.fixture
def service(place, mirror):
    return make_service(place, mirror)


# --- as little as it takes -------------------------------------------------------------------------------------


def test_the_first_time_the_whole_file_comes(service, mirror):
    publish(mirror.directory, 6)
    said = update(service, UPDATED)
    assert asked(mirror) == [HEAD, WHOLE]
    assert "test" in said and "6" in said
    expect_in_force(service, "test.cvd", 6)
    assert item(service, "test")["version"] == 6 and item(service, "test")["source"] == mirror.url


def test_nothing_new_is_one_small_request(service, mirror):
    install(service, mirror, 6)
    for _ in range(2):
        update(service, UP_TO_DATE)
        assert mirror.bytes() <= 1024
        assert asked(mirror) == [HEAD]
    expect_in_force(service, "test.cvd", 6)


def test_one_version_behind_is_the_head_and_one_cdiff(service, mirror):
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    said = update(service, UPDATED)
    assert mirror.bytes() == 512 + size_of("test-6.cdiff")
    assert asked(mirror) == [HEAD, *cdiffs(6, 6)]
    assert "5" in said and "6" in said
    expect_in_force(service, "test.cld", 6)
    update(service, UP_TO_DATE)
    assert asked(mirror) == [HEAD]


def test_all_versions_by_cdiffs(service, mirror):
    install(service, mirror, 1)
    publish(mirror.directory, 6)
    update(service, UPDATED)
    assert mirror.bytes() == 512 + sum(map(size_of, cdiffs(2, 6)))
    assert asked(mirror) == [HEAD, *cdiffs(2, 6)]
    expect_in_force(service, "test.cld", 6)


def test_update_after_update_by_cdiffs(service, mirror):
    """What cdiffs have made is what the next ones are put on."""
    install(service, mirror, 1)
    for version in range(2, NEWEST + 1):
        publish(mirror.directory, version)
        update(service, UPDATED)
        assert asked(mirror) == [HEAD, *cdiffs(version, version)]
        expect_in_force(service, "test.cld", version)
    update(service, UP_TO_DATE)


@pytest.mark.parametrize("reached", [5, 4])
def test_cdiffs_that_do_not_lead_all_the_way_are_used_as_far_as_they_go(service, mirror, reached):
    install(service, mirror, 1)
    publish(mirror.directory, 6, range(2, reached + 1))
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, *cdiffs(2, reached + 1)]
    expect_in_force(service, "test.cld", reached)
    # The rest has come meanwhile.
    publish(mirror.directory, 6)
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, *cdiffs(reached + 1, 6)]
    expect_in_force(service, "test.cld", 6)


def test_the_whole_file_where_the_first_cdiff_is_missing(service, mirror):
    install(service, mirror, 3)
    publish(mirror.directory, 6, [5, 6])
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, *cdiffs(4, 4), WHOLE]
    expect_in_force(service, "test.cvd", 6)


@pytest.mark.parametrize("empty", [2, 4])
def test_the_whole_file_where_a_cdiff_is_empty(service, mirror, empty):
    install(service, mirror, 1)
    publish(mirror.directory, 6)
    (mirror.directory / f"test-{empty}.cdiff").write_bytes(b"")
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, *cdiffs(2, empty), WHOLE]
    expect_in_force(service, "test.cvd", 6)
    update(service, UP_TO_DATE)
    assert asked(mirror) == [HEAD]


def test_an_empty_cdiff_and_a_whole_file_that_is_out_of_date(service, mirror):
    """The last version cannot be had: as near as one gets, never back, and each time the same answer."""
    install(service, mirror, 1)
    publish(mirror.directory, 5)
    (mirror.directory / "test-3.cdiff").write_bytes(b"")
    (mirror.directory / "test-6.cdiff").write_bytes(b"")
    mirror.rules = [advertise(mirror.directory, 6)]
    update(service, UPDATED)
    assert asked(mirror)[:4] == [HEAD, *cdiffs(2, 3), WHOLE]
    assert set(in_force(service).values()) == {5}
    for _ in range(2):
        said = update(service, UP_TO_DATE)
        assert mirror.url in said, "that the mirror has promised more than it has is not said"
        assert len(asked(mirror)) <= 3
        assert set(in_force(service).values()) == {5}
    publish(mirror.directory, 6)
    mirror.rules = []
    update(service, UPDATED)
    assert set(in_force(service).values()) == {6}


def test_a_whole_file_that_is_out_of_date_and_cdiffs_that_lead_on(service, mirror):
    publish(mirror.directory, 4)
    for version in (5, 6):
        publish_cdiff(mirror, version)
    mirror.rules = [advertise(mirror.directory, 6)]
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, WHOLE, *cdiffs(5, 6)]
    expect_in_force(service, "test.cld", 6)
    update(service, UP_TO_DATE)
    assert asked(mirror) == [HEAD]


def publish_cdiff(mirror, version):
    name = f"test-{version}.cdiff"
    (mirror.directory / name).write_bytes((DATA / name).read_bytes())


@pytest.mark.parametrize("version", [2, 6])
def test_what_an_administrator_has_put_there_is_not_fetched_again(service, mirror, version):
    """Taken from freshclam's directory, say. It would be loaded twice."""
    (service.signatures / "test.cvd").write_bytes((DATA / f"test-{version}.cvd").read_bytes())
    publish(mirror.directory, 6)
    update(service, UP_TO_DATE if version == 6 else UPDATED)
    assert asked(mirror) == ([HEAD] if version == 6 else [HEAD, *cdiffs(3, 6)])
    there = {path.name for path in service.signatures.glob("test.c?d")}
    assert there == ({"test.cvd"} if version == 6 else set())
    if version != 6:
        expect_in_force(service, "test.cld", 6)


def test_what_is_fetched_belongs_to_the_service_and_is_for_all_to_read(service, mirror):
    install(service, mirror, 6)
    status = os.stat(current(service) / "test.cvd")
    assert status.st_mode & 0o777 == 0o644
    assert os.stat(current(service)).st_mode & 0o555 == 0o555
    for left in ("work", "partial"):
        assert not [path for path in (service.signatures / "fetch" / left).rglob("*") if path.is_file()]


def test_only_the_last_sets_are_kept(service, mirror):
    install(service, mirror, 1)
    for version in range(2, NEWEST + 1):
        publish(mirror.directory, version)
        update(service, UPDATED)
    assert len(list((service.signatures / "sets").iterdir())) <= 2


# --- custom files ----------------------------------------------------------------------------------------------

LOCAL = "Local.One:0:*:686f6c64666173742d637573746f6d2d6f6e65\n"
OTHER = "Local.Two:0:*:686f6c64666173742d637573746f6d2d74776f\n"


@pytest.fixture
def custom(place, mirror):
    """A service that has nothing but a file of its administrator's."""
    (mirror.directory / "local.ndb").write_text(LOCAL)
    return make_custom(place, f"{mirror.url}/local.ndb")


def make_custom(place, *urls, **fetch):
    return place.service(include=place.base / "nothing", fetch={"custom": urls, "check-every": 0, **fetch})


def test_a_custom_file_comes_once(custom, mirror):
    update(custom, UPDATED)
    assert in_force(custom) == {"local.ndb": LOCAL}
    mirror.forget()
    update(custom, UP_TO_DATE)
    (request,) = mirror.requests()
    assert (request["status"], request["sent"]) == (304, 0)
    assert request["if_none_match"]
    (mirror.directory / "local.ndb").write_text(OTHER)
    update(custom, UPDATED)
    assert in_force(custom) == {"local.ndb": OTHER}


def test_a_custom_file_without_an_etag(custom, mirror):
    mirror.rules = [{"headers": {"ETag": None}}]
    update(custom, UPDATED)
    mirror.forget()
    update(custom, UP_TO_DATE)
    (request,) = mirror.requests()
    assert (request["status"], request["sent"]) == (304, 0)
    assert request["if_modified_since"] and not request["if_none_match"]
    path = mirror.directory / "local.ndb"
    path.write_text(OTHER)
    os.utime(path, (time.time() + 10, time.time() + 10))
    update(custom, UPDATED)
    assert in_force(custom) == {"local.ndb": OTHER}


def test_a_custom_file_that_comes_again_unchanged_is_not_news(custom, mirror):
    mirror.rules = [{"headers": {"ETag": None, "Last-Modified": None}}]
    update(custom, UPDATED)
    before = os.readlink(current(custom))
    update(custom, UP_TO_DATE)
    assert os.readlink(current(custom)) == before, "a set has been published that is no other"


def test_a_custom_file_of_this_machine(place):
    path = place.base / "mine.ndb"
    path.write_text(LOCAL)
    service = make_custom(place, f"file://{path}")
    update(service, UPDATED)
    assert in_force(service) == {"mine.ndb": LOCAL}
    update(service, UP_TO_DATE)
    path.write_text(OTHER)
    os.utime(path, (time.time() + 10, time.time() + 10))
    update(service, UPDATED)
    assert in_force(service) == {"mine.ndb": OTHER}
    path.unlink()
    assert str(path) in update(service, FAILED)
    assert in_force(service) == {"mine.ndb": OTHER}


BAD_FILES = {
    "malformed": "this is no signature\n",
    "malformed at the end": LOCAL + "Local.Bad:0:*:zz\n",
    "empty": "",
    "a page of a proxy": "<html>Please log in</html>\n",
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_custom_file_that_does_not_load_is_not_published(custom, mirror, content):
    update(custom, UPDATED)
    (mirror.directory / "local.ndb").write_text(content)
    for _ in range(2):
        said = update(custom, FAILED)
        assert "local.ndb" in said
        assert in_force(custom) == {"local.ndb": LOCAL}
    (mirror.directory / "local.ndb").write_text(OTHER)
    update(custom, UPDATED)
    assert in_force(custom) == {"local.ndb": OTHER}


def test_one_bad_file_does_not_hold_up_the_others(place, mirror):
    publish(mirror.directory, 6)
    (mirror.directory / "good.ndb").write_text(LOCAL)
    (mirror.directory / "bad.ndb").write_text("this is no signature\n")
    files = [f"{mirror.url}/{name}.ndb" for name in ("bad", "good", "missing")]
    service = make_service(place, mirror, fetch={"custom": files})
    said = update(service, FAILED)
    assert in_force(service) == {"good.ndb": LOCAL, "test.cvd": 6}
    assert "bad.ndb" in said and "missing.ndb" in said


@pytest.mark.parametrize("announced", [True, False])
def test_a_custom_file_is_bounded(place, mirror, announced):
    (mirror.directory / "local.ndb").write_text(LOCAL)
    service = make_custom(place, f"{mirror.url}/local.ndb", **{"custom-max-size": "64K"})
    update(service, UPDATED)
    mirror.forget()
    mirror.rules = [
        {"body": {"size": 1 << 20}, "headers": {"ETag": '"other"'}} if announced else {"endless": "body", "body": OTHER}
    ]
    assert "65536" in update(service, FAILED)
    assert mirror.count() == 1
    assert mirror.bytes() < 16 << 20
    assert in_force(service) == {"local.ndb": LOCAL}


def test_a_custom_file_as_large_as_may_be(place, mirror):
    text = LOCAL.rjust(65536, "#").replace("#" * 64, "#" * 63 + "\n")
    (mirror.directory / "local.ndb").write_text(text)
    service = make_custom(place, f"{mirror.url}/local.ndb", **{"custom-max-size": "64K"})
    assert len(text) == 65536
    update(service, UPDATED)
    assert in_force(service) == {"local.ndb": text}


def test_what_is_not_configured_any_more_goes(place, mirror):
    publish(mirror.directory, 6)
    (mirror.directory / "local.ndb").write_text(LOCAL)
    service = make_service(place, mirror, fetch={"custom": f"{mirror.url}/local.ndb"})
    update(service, UPDATED)
    assert in_force(service) == {"local.ndb": LOCAL, "test.cvd": 6}
    del service.sections["signatures"]["custom"]
    service.write_config()
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)
    assert "local" not in (service.signatures / "fetch" / "state.json").read_text()


@pytest.mark.parametrize("good", [True, False])
def test_a_custom_container_must_be_signed(place, mirror, good):
    data = bytearray((DATA / "test-6.cvd").read_bytes())
    if not good:
        data[-100] ^= 1
    (mirror.directory / "test.cvd").write_bytes(data)
    service = make_custom(place, f"{mirror.url}/test.cvd")
    update(service, UPDATED if good else FAILED)
    assert in_force(service) == ({"test.cvd": 6} if good else {})


# --- what a configuration must not name ------------------------------------------------------------------------

BAD_SOURCES = {
    "bytecode": ({"custom": "http://127.0.0.1/evil.cbc"}, "signed"),
    "unsigned container": ({"custom": "http://127.0.0.1/evil.cld"}, "signed"),
    "switches": ({"custom": "http://127.0.0.1/evil.cfg"}, "signed"),
    "no file of signatures": ({"custom": "http://127.0.0.1/evil.exe"}, "file of signatures"),
    "no file": ({"custom": "http://127.0.0.1/"}, "file of signatures"),
    "another scheme": ({"custom": "ftp://127.0.0.1/local.ndb"}, "http"),
    "a mirror in a file": ({"mirror": "file:///srv/mirror"}, "http"),
    "the same name twice": ({"custom": ["http://127.0.0.1/a/x.ndb", "http://127.0.0.1/b/x.ndb"]}, r"x\.ndb"),
    "the name of a database": (
        {"mirror": "http://127.0.0.1", "database": "test", "custom": "http://127.0.0.1/test.cvd"},
        r"test\.cvd",
    ),
    "a path for a name": ({"mirror": "http://127.0.0.1", "database": "../test"}, "database"),
    "a file for a name": ({"mirror": "http://127.0.0.1", "database": "test.cvd"}, "database"),
    "a key without a certificate": ({"client-key": "/etc/hostname"}, "client-certificate"),
}


@pytest.mark.parametrize("fetch, says", BAD_SOURCES.values(), ids=BAD_SOURCES.keys())
def test_sources_that_can_never_work_are_refused(place, fetch, says):
    service = place.service(include=place.base / "nothing", fetch=fetch)
    done = holdfast(service, "check-config")
    assert done.returncode != 0
    assert re.search(rf"{service.config}:\d+: .*{says}", done.stdout + done.stderr), done.stdout + done.stderr
    assert update(service, FAILED)


def test_without_sources_there_is_nothing_to_update(place):
    service = place.service(include=place.base / "nothing", fetch={})
    assert "mirror" in update(service, FAILED)


# --- leave me alone --------------------------------------------------------------------------------------------

DAY = 24 * 3600


def in_a_minute():
    return email.utils.formatdate(time.time() + 60, usegmt=True)


# An answer, and how long no more is asked for, in seconds.
BUSY = {
    "429": ({"status": 429, "headers": {"Retry-After": "60"}}, 60),
    "429 until a time": ({"status": 429}, 60),
    "429 without more": ({"status": 429}, 4 * 3600),
    "503": ({"status": 503, "headers": {"Retry-After": "60"}}, 60),
    "403": ({"status": 403}, DAY),
}

# What the mirror answers so, what it has beside, and what is asked for until then.
WHERE = {
    "head": ({"path": "/test.cvd", "range": True}, range(2, 7), [HEAD]),
    "cdiff": ({"path": "/test-6.cdiff"}, range(2, 7), [HEAD, *cdiffs(6, 6)]),
    "whole": ({"path": "/test.cvd", "range": False}, [], [HEAD, *cdiffs(6, 6), WHOLE]),
}


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("where", WHERE)
def test_a_mirror_that_wants_to_be_left_alone_is(service, mirror, where, busy):
    answer, seconds = BUSY[busy]
    if busy == "429 until a time":
        answer = {**answer, "headers": {"Retry-After": in_a_minute()}}
    rule, patches, requests = WHERE[where]
    install(service, mirror, 5)
    publish(mirror.directory, 6, patches)
    mirror.rules = [{**rule, **answer}]
    began = time.time()
    said = update(service, COOL_DOWN)
    assert asked(mirror) == requests, "it was not left alone"
    assert mirror.url in said and str(answer["status"]) in said, "nothing says why"
    expect_in_force(service, "test.cvd", 5)
    # The clock may have gone on by what all of this has taken.
    entry = source(service, mirror.url)
    assert began + seconds - 2 <= entry["cool_until"] <= time.time() + seconds + 1
    # Not even when it would give again.
    mirror.rules = []
    for _ in range(2):
        said = update(service, COOL_DOWN)
        assert asked(mirror) == []
        until = time.strftime("%H:%M", time.localtime(entry["cool_until"]))
        assert mirror.url in said and until in said, f"{until} is not in {said}"
    assert source(service, mirror.url)["cool_until"] == entry["cool_until"], "it begins again"


def test_it_is_asked_again_when_the_time_has_come(service, mirror):
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    mirror.rules = [{"status": 429, "headers": {"Retry-After": "1"}, "nth": 1}]
    update(service, COOL_DOWN)
    assert asked(mirror) == [HEAD]
    wait_until(lambda: holdfast(service, "update").returncode == UPDATED, "the cool-down is over")
    assert asked(mirror) == [HEAD, *cdiffs(6, 6)]
    expect_in_force(service, "test.cld", 6)


def test_what_came_before_is_kept(service, mirror):
    """A cdiff that may not be had ends the update; those before it are used."""
    install(service, mirror, 3)
    publish(mirror.directory, 6)
    mirror.rules = [{"path": "/test-5.cdiff", "status": 429, "headers": {"Retry-After": "60"}}]
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, *cdiffs(4, 5)]
    expect_in_force(service, "test.cld", 4)
    update(service, COOL_DOWN)
    assert asked(mirror) == []


@pytest.mark.parametrize("busy", ["429", "403"])
def test_the_next_mirror_is_asked_meanwhile(place, mirrors, busy):
    first, second = mirrors(), mirrors()
    service = make_service(place, first, second)
    install(service, first, 5)
    for mirror in (first, second):
        publish(mirror.directory, 6)
    first.rules = [{"path": "/test-6.cdiff", **BUSY[busy][0]}]
    update(service, UPDATED)
    assert asked(first) == asked(second) == [HEAD, *cdiffs(6, 6)]
    expect_in_force(service, "test.cld", 6)
    update(service, UP_TO_DATE)
    assert (asked(first), asked(second)) == ([], [HEAD])


def test_both_mirrors_want_to_be_left_alone(place, mirrors):
    first, second = mirrors(), mirrors()
    service = make_service(place, first, second)
    first.rules = [{"status": 403}]
    second.rules = [{"status": 429, "headers": {"Retry-After": "60"}}]
    said = update(service, COOL_DOWN)
    assert (asked(first), asked(second)) == ([HEAD], [HEAD])
    assert second.url in said, "the one that may be asked first again is not named"
    update(service, COOL_DOWN)
    assert (asked(first), asked(second)) == ([], [])


def test_a_custom_url_that_is_forbidden_stops_nothing_else(place, mirror):
    """Not even on the same server."""
    publish(mirror.directory, 5)
    (mirror.directory / "good.ndb").write_text(LOCAL)
    files = [f"{mirror.url}/{name}.ndb" for name in ("forbidden", "good")]
    service = make_service(place, mirror, fetch={"custom": files})
    mirror.rules = [{"path": "/forbidden.ndb", "status": 403}]
    said = update(service, COOL_DOWN)
    assert "forbidden.ndb" in said
    assert in_force(service) == {"good.ndb": LOCAL, "test.cvd": 5}
    mirror.forget()
    publish(mirror.directory, 6)
    update(service, COOL_DOWN)
    assert asked(mirror) == [HEAD, *cdiffs(6, 6), "good.ndb"]
    assert in_force(service) == {"good.ndb": LOCAL, "test.cld": 6}


@pytest.mark.parametrize("answer", [{"status": 500}, {"status": 503}, {"status": 404}, {"close": True}])
def test_a_mirror_that_is_out_of_order_is_no_cool_down(place, mirrors, answer):
    first, second = mirrors(), mirrors()
    service = make_service(place, first, second)
    for mirror in (first, second):
        publish(mirror.directory, 6)
    first.rules = [answer]
    update(service, UPDATED)
    assert (asked(first), asked(second)) == ([HEAD], [HEAD, WHOLE])
    expect_in_force(service, "test.cvd", 6)
    second.rules = [answer]
    said = update(service, FAILED)
    assert first.url in said and second.url in said
    # It is said of all of them, and the one that has just failed is asked last.
    assert asked(first) == asked(second) == [HEAD]
    first.rules = second.rules = []
    update(service, UP_TO_DATE)


def test_a_mirror_that_has_gone(place, mirrors):
    mirror = mirrors()
    service = make_service(place, "http://127.0.0.1:1", mirror)
    publish(mirror.directory, 6)
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)
    update(service, UP_TO_DATE)
    assert source(service, "http://127.0.0.1:1")["failures"] >= 1


# --- what is not taken -----------------------------------------------------------------------------------------


def test_a_download_that_breaks_off_goes_on_where_it_was(service, mirror):
    publish(mirror.directory, 6)
    mirror.rules = [{"path": "/test.cvd", "range": False, "truncate": 5000}]
    update(service, UPDATED)
    assert mirror.bytes() == 512 + size_of("test-6.cvd")
    assert asked(mirror) == [HEAD, WHOLE, "test.cvd 5000-"]
    expect_in_force(service, "test.cvd", 6)


def test_a_download_that_breaks_off_goes_on_in_the_next_run(service, mirror):
    publish(mirror.directory, 6)
    mirror.rules = [
        {"path": "/test.cvd", "range": False, "truncate": 5000},
        {"path": "/test.cvd", "range": True, "nth": [2, 100], "close": True},
    ]
    update(service, FAILED)
    assert in_force(service) == {}
    assert mirror.bytes() == 512 + 5000
    mirror.forget()
    mirror.rules = []
    update(service, UPDATED)
    assert mirror.bytes() == 512 + size_of("test-6.cvd") - 5000
    assert asked(mirror) == [HEAD, "test.cvd 5000-"]
    expect_in_force(service, "test.cvd", 6)


def test_what_was_broken_off_is_of_no_use_when_there_is_a_newer_one(service, mirror):
    publish(mirror.directory, 5)
    mirror.rules = [
        {"path": "/test.cvd", "range": False, "truncate": 5000},
        {"path": "/test.cvd", "range": True, "nth": [2, 100], "close": True},
    ]
    update(service, FAILED)
    publish(mirror.directory, 6)
    mirror.forget()
    mirror.rules = []
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, WHOLE]
    expect_in_force(service, "test.cvd", 6)


def test_a_broken_cdiff_ends_in_the_right_version_all_the_same(service, mirror):
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    mirror.rules = [{"path": "/test-6.cdiff", "truncate": 300}]
    holdfast(service, "update")
    assert set(in_force(service).values()) <= {5, 6}
    mirror.rules = []
    holdfast(service, "update")
    assert set(in_force(service).values()) == {6}


@pytest.mark.parametrize("at", ["head", "signature", "middle", "end"])
def test_one_wrong_byte(service, mirror, at):
    install(service, mirror, 5)
    publish(mirror.directory, 6, [])
    data = bytearray((DATA / "test-6.cvd").read_bytes())
    position = {
        "head": data.index(b":14:") + 2,  # of how many signatures there are
        "signature": data.index(b"Dou6ICRT5HwLTtLN"),
        "middle": len(data) // 2,
        "end": len(data) - 10,
    }[at]
    data[position] ^= 1
    (mirror.directory / "test.cvd").write_bytes(data)
    for _ in range(2):
        said = update(service, FAILED)
        assert "test" in said and mirror.url in said
        expect_in_force(service, "test.cvd", 5)
    publish(mirror.directory, 6, [])
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)


def test_a_cdiff_with_one_wrong_byte_is_not_applied(service, mirror):
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    data = bytearray((DATA / "test-6.cdiff").read_bytes())
    data[-40] ^= 1
    (mirror.directory / "test-6.cdiff").write_bytes(data)
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, *cdiffs(6, 6), WHOLE]
    expect_in_force(service, "test.cvd", 6)


def test_a_cdiff_of_another_version_is_not_applied(service, mirror):
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    (mirror.directory / "test-6.cdiff").write_bytes((DATA / "test-4.cdiff").read_bytes())
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)


def test_another_mirror_has_what_the_first_has_spoiled(place, mirrors):
    first, second = mirrors(), mirrors()
    service = make_service(place, first, second)
    for mirror in (first, second):
        publish(mirror.directory, 6)
    data = bytearray((DATA / "test-6.cvd").read_bytes())
    data[-10] ^= 1
    (first.directory / "test.cvd").write_bytes(data)
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)
    assert source(service, first.url)["failures"] >= 1 and source(service, first.url)["problem"]


def test_an_older_head_is_no_reason_to_go_back(service, mirror):
    install(service, mirror, 5)
    publish(mirror.directory, 3)
    update(service, UP_TO_DATE)
    assert asked(mirror) == [HEAD]
    expect_in_force(service, "test.cvd", 5)


def test_a_mirror_that_is_behind_is_passed_over(place, mirrors):
    first, second = mirrors(), mirrors()
    service = make_service(place, first, second)
    install(service, first, 5)
    publish(first.directory, 4)
    publish(second.directory, 6)
    update(service, UPDATED)
    assert (asked(first), asked(second)) == ([HEAD], [HEAD, *cdiffs(6, 6)])
    expect_in_force(service, "test.cld", 6)


def test_an_older_file_under_a_newer_head_is_not_taken(service, mirror):
    install(service, mirror, 5)
    publish(mirror.directory, 3, [])
    mirror.rules = [advertise(mirror.directory, 6)]
    for _ in range(2):
        holdfast(service, "update")
        expect_in_force(service, "test.cvd", 5)
        assert len(asked(mirror)) <= 4, "it asks over and over"


def test_another_database_is_not_taken_for_the_one_that_was_asked_for(place, mirror):
    publish(mirror.directory, 6, database="other")
    service = make_service(place, mirror, fetch={"database": "other"})
    said = update(service, FAILED)
    assert "other" in said
    assert in_force(service) == {}


def test_a_page_instead_of_a_database(service, mirror):
    """Of a proxy where somebody should log in."""
    install(service, mirror, 5)
    mirror.rules = [{"body": "<html>Please log in</html>" * 100}]
    update(service, FAILED)
    assert asked(mirror) == [HEAD]
    expect_in_force(service, "test.cvd", 5)


def test_a_file_that_is_announced_too_large(service, mirror):
    install(service, mirror, 5)
    publish(mirror.directory, 6, [])
    mirror.rules = [{"path": "/test.cvd", "range": False, "endless": "body", "headers": {"Content-Length": 2 << 30}}]
    update(service, FAILED)
    assert mirror.bytes() < 16 << 20
    expect_in_force(service, "test.cvd", 5)


@pytest.mark.parametrize("where", ["head", "cdiff"])
@pytest.mark.parametrize("what", ["body", "headers"])
def test_what_does_not_end_is_cut_off(service, mirror, where, what):
    rule = WHERE[where][0]
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    mirror.rules = [{**rule, "endless": what}]
    done = holdfast(service, "update")
    assert done.returncode in (UPDATED, FAILED), done.stdout + done.stderr
    assert mirror.bytes() < 96 << 20
    assert set(in_force(service).values()) <= {5, 6}
    assert sum(path.stat().st_size for path in service.signatures.rglob("*") if path.is_file()) < 1 << 20


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_followed(service, mirror, status):
    (mirror.directory / "elsewhere").mkdir()
    publish(mirror.directory / "elsewhere", 6)
    mirror.rules = [{"path": "/test*", "redirect": f"{mirror.url}/elsewhere/test.cvd", "status": status}]
    update(service, UPDATED)
    assert asked(mirror) == [HEAD, "elsewhere/" + HEAD, WHOLE, "elsewhere/" + WHOLE]
    expect_in_force(service, "test.cvd", 6)


@pytest.mark.parametrize("to", ["{url}/test.cvd", "{url}/{{n}}.cvd", "file://{path}", "ftp://127.0.0.1/test.cvd"])
def test_a_redirect_that_leads_nowhere(service, mirror, to):
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    mirror.rules = [{"redirect": to.format(url=mirror.url, path=mirror.directory / "test.cvd")}]
    update(service, FAILED)
    assert mirror.count() <= 6
    expect_in_force(service, "test.cvd", 5)


def test_a_server_that_knows_no_ranges(service, mirror):
    publish(mirror.directory, 5)
    mirror.rules = [{"ignore_range": True}]
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 5)
    publish(mirror.directory, 6)
    update(service, UPDATED)
    expect_in_force(service, "test.cld", 6)


def test_a_server_that_begins_again_where_it_should_go_on(service, mirror):
    publish(mirror.directory, 6)
    mirror.rules = [
        {"path": "/test.cvd", "range": False, "nth": 1, "truncate": 5000},
        {"path": "/test.cvd", "range": True, "nth": [2, 100], "ignore_range": True},
    ]
    update(service, UPDATED)
    assert mirror.count() == 3
    expect_in_force(service, "test.cvd", 6)


def test_the_user_agent(service, mirror):
    """Of the public servers only freshclam's is taken; everybody else is told the truth."""
    publish(mirror.directory, 6)
    update(service, UPDATED)
    assert all(request["user_agent"].startswith("holdfast/") for request in mirror.requests())


def test_there_is_one_run_at_a_time(service, mirror):
    """Two at once would publish each other's halves."""
    publish(mirror.directory, 6)
    mirror.rules = [{"path": "/test.cvd", "range": False, "stall": 2000}]
    first = start_holdfast(service, "update")
    wait_until(lambda: mirror.account and mirror.account[-1]["sent"] == 2000, "it waits for the rest")
    said = update(service, FAILED)
    assert "another" in said
    first.terminate()
    finish_holdfast(first)
    mirror.rules = []
    update(service, UPDATED)
    expect_in_force(service, "test.cvd", 6)


def test_ctrl_c_ends_it_and_nothing_is_left(service, mirror):
    install(service, mirror, 5)
    publish(mirror.directory, 6)
    mirror.rules = [{"path": "/test-6.cdiff", "stall": 200}]
    process = start_holdfast(service, "update")
    wait_until(lambda: mirror.account and mirror.account[-1]["sent"] == 200, "it waits for the rest")
    process.send_signal(signal.SIGINT)
    assert finish_holdfast(process).returncode == 128 + signal.SIGINT
    wait_until(lambda: not service.processes(), "no process is left")
    expect_in_force(service, "test.cvd", 5)
    mirror.rules = []
    update(service, UPDATED)


def test_where_it_may_not_write(service, mirror):
    """The directory of signatures belongs to root, say."""
    publish(mirror.directory, 6)
    os.chown(service.signatures, 0, 0)
    said = update(service, FAILED)
    assert str(service.signatures) in said and USER in said, said
    assert asked(mirror) == []
