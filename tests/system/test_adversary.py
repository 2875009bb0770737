# SPDX-License-Identifier: GPL-2.0-only
"""
What hostile or unlucky users, mounts and moments do: files that cannot be opened for the guard, filesystems that
come and go, processes that die at the worst time. Malware stays refused, nobody hangs, and the log tells the truth.
"""
import os
import pwd
import shutil
import signal

import pytest
from harness import (
    CLEAN,
    EICAR,
    NOBODY,
    WITHOUT,
    Actor,
    create,
    encode_path,
    execute_as,
    expect_protection,
    finish_steps,
    open_as,
    open_held,
    program,
    read_process,
    run,
    send_signal,
    start_open,
    start_steps,
    unmount,
    wait_until,
)

ANSWERS = {"allow": (None, EICAR), "deny": ("EPERM", b"")}
BOTH_ANSWERS = pytest.mark.parametrize("policy, answer", ANSWERS.items(), ids=ANSWERS.keys())
BOTH_POLICIES = pytest.mark.parametrize("policy, error", [("allow", None), ("deny", "EPERM")], ids=ANSWERS.keys())


def wait_gone(pid):
    wait_until(lambda: read_process(pid) is None, f"process {pid} is gone")


def sleeps(pid):
    """Whether it has nothing to do."""
    return read_process(pid).state == "S"


def other_pid(service, role, old):
    """The one process of a role, once it is not the old one."""
    return wait_until(
        lambda: (pids := service.pids(role)) and len(pids) == 1 and pids != [old] and pids[0],
        f"there is another {role}",
    )


def text_status(service):
    """What holdfast status says to people, and its exit code."""
    done = execute_as("root", program("holdfast"), "--config", service.config, "status")
    return done.status, done.output


# --- files -----------------------------------------------------------------------------------------------------


def test_a_lease_on_a_file_delays_nobody_else(place, volume, infected, clean):
    """The kernel cannot open such a file for the guard before its holder gives way, which may take 45 s."""
    leased = volume.write("home/leased", CLEAN, 0o666)
    shutil.chown(leased, NOBODY)
    holder = place.keep(
        start_steps(NOBODY, ("open", "file", leased, ["O_RDWR"]), ("lease", "file"), ("wait",))
    ).wait_for_about()
    service = place.start(include=volume / "home")
    guard = service.pid("guard")
    for _ in range(3):
        opener = place.keep(start_open(NOBODY, leased))
        assert open_as(NOBODY, infected).error == "EPERM"
        assert open_as("root", clean).content == CLEAN
        assert opener.opened().error == "EPERM"
    assert service.pid("guard") == guard and service.status()["restarts"]["guard"] == 0
    holder.go_on()
    finish_steps(holder)
    assert open_as(NOBODY, leased).content == CLEAN, "it is as other files when nobody holds a lease"


@BOTH_POLICIES
def test_a_file_beyond_max_file_size_is_incomplete(place, volume, policy, error):
    """Nobody may take it for malware, and nobody for clean."""
    large, small = volume.write("home/large", os.urandom(3 << 20)), volume.write("home/small", CLEAN)
    padded = volume.write("home/padded", EICAR + b"\n" * (512 << 10))
    service = place.start(include=volume / "home", on_incomplete=policy, engine={"max-file-size": "1M"})
    service.disturbed = True
    for n in (1, 2):
        assert open_as(NOBODY, large).error == error
        assert service.status()["counters"]["verdicts"]["incomplete"] == n, "its verdict was remembered"
    assert open_as(NOBODY, small).content == CLEAN
    service.expect(r"large: not verified \(.+\), " + {"allow": "allowed", "deny": "denied"}[policy])
    assert not service.found()

    assert open_as(NOBODY, padded).error == "EPERM"
    service.expect_found(padded)
    assert [path for path, _ in service.found()] == [str(padded)]


@pytest.mark.every_filesystem
def test_whoever_makes_a_clean_file_malware_is_not_overtaken_by_its_verdict(place, volume):
    """Between the answer to an open and what is done with the verdict after it."""
    for user in (NOBODY, "root"):
        (volume / user).mkdir()
        shutil.chown(volume / user, user)
    place.start(include=volume.path)
    writers = [
        Actor(
            "overtake",
            user,
            paths=[encode_path(volume / user / str(i)) for i in range(5)],
            clean=b"x" * len(EICAR),
            infected=EICAR,
            seconds=4,
        )
        for user in (NOBODY, "root")
    ]
    for writer in writers:
        (result,) = place.keep(writer).finish()
        assert result["rounds"] > 20, "that is not much of a race"
        assert result["leaked"] == 0, f"malware was read {result['leaked']} times in {result['rounds']}"


# --- mounts ----------------------------------------------------------------------------------------------------


def filesystem_of(service):
    (include,) = service.status()["includes"]
    assert include["watched"] and include["mark"] in ("filesystem", WITHOUT and "mount"), include
    return include["filesystem"]


def test_a_filesystem_mounted_over_an_include_path_is_protected_by_a_reload(place, volume, infected):
    service = place.start(include=volume / "home")
    assert open_as(NOBODY, infected).error == "EPERM"
    over = place.volume("ext4", path=volume / "home")
    service.reload()
    assert filesystem_of(service) == "ext4"
    create(over / "eicar", EICAR)
    create(over / "clean", CLEAN)
    assert open_as(NOBODY, over / "eicar").error == "EPERM"
    assert open_as(NOBODY, over / "clean").content == CLEAN
    service.expect_found(over / "eicar")


@pytest.mark.parametrize("propagation", ["shared", "private"])
def test_a_filesystem_that_takes_the_place_of_another_is_protected(place, volume, infected, propagation):
    """Without a reload. What is protected can be unmounted, and what is below it then is protected too."""
    run("mount", "--make-" + propagation, volume.path)
    first = place.volume("ext4", path=volume / "home")
    service = place.start(include=volume / "home")
    assert filesystem_of(service) == "ext4"
    create(first / "eicar", EICAR)
    assert open_as(NOBODY, first / "eicar").error == "EPERM"

    unmount(first.path)
    wait_until(first.is_gone, "nothing of the service holds on to the filesystem")
    wait_until(lambda: filesystem_of(service) == "tmpfs", "the filesystem below is seen")
    assert open_as(NOBODY, infected).error == "EPERM"

    second = place.volume("ext4", path=volume / "home")
    wait_until(lambda: filesystem_of(service) == "ext4", "the filesystem mounted there is seen")
    create(second / "eicar", EICAR)
    create(second / "clean", CLEAN)
    assert open_as(NOBODY, second / "eicar").error == "EPERM"
    assert open_as(NOBODY, second / "clean").content == CLEAN
    assert service.status()["restarts"]["guard"] == 0


def test_an_include_path_that_is_gone_is_protected_when_it_is_there_again(place, volume, infected, clean):
    """And the others all the time, even if the guard has to start without it."""
    other = volume / "other"
    other.mkdir()
    service = place.start(include=[other, volume / "home"])
    other.rmdir()
    for lose in (service.lose_guard, service.lose_family):
        after = service.position()
        guard = lose()
        service.expect(r"a standby took over|a new guard is protecting again", after)
        assert service.pid("guard") != guard
        expect_protection(infected, clean)
        service.standbys()
    assert [include["watched"] for include in service.status()["includes"]] == [True, True]
    other.mkdir()
    create(other / "eicar", EICAR)
    assert open_as(NOBODY, other / "eicar").error == "EPERM"
    service.expect_found(other / "eicar")


# --- who is excluded -------------------------------------------------------------------------------------------


def test_a_program_bound_over_an_excluded_one_is_not_excluded(place, volume, infected, clean):
    """Anybody may do so in a mount namespace of his own."""
    if execute_as(NOBODY, "unshare", "-Urm", "mount", "--bind", "/bin", "/mnt").status != 0:
        pytest.skip("unprivileged users cannot make namespaces here")
    excluded = place.base / "bin" / "reader"
    excluded.parent.mkdir()
    shutil.copy("/bin/cat", excluded)
    place.start(include=volume / "home", exclude_process=excluded)
    assert execute_as(NOBODY, excluded, infected).output == EICAR.decode(), "the program itself is not excluded"

    script = 'mount --bind /usr/bin/head "$0" && exec "$0" -c 100 "$1"'
    for path, content in ((clean, CLEAN), (infected, None)):
        done = execute_as(NOBODY, "unshare", "-Urm", "/bin/sh", "-c", script, excluded, path)
        if content:
            assert done.output == content.decode(), "the other program was not run"
        else:
            assert done.status != 0 and EICAR.decode() not in done.output


@pytest.mark.parametrize("owner", [NOBODY, "root"])
def test_an_exclude_path_may_not_go_through_a_users_symbolic_link(place, volume, infected, owner):
    """It excludes what its owner lets it point to."""
    link = volume / "home/cache"
    (volume / "cache").mkdir()
    link.symlink_to(volume / "cache")
    os.chown(link, pwd.getpwnam(owner).pw_uid, -1, follow_symlinks=False)
    service = place.service(include=volume / "home", exclude=link)
    line = 1 + service.config.read_text().splitlines().index(f"exclude = {link}")
    check = execute_as("root", program("holdfast"), "--config", service.config, "check-config")
    if owner == "root":
        assert check.status == 0, check.output
        service.start()
        assert open_as(NOBODY, infected).error == "EPERM"
        return
    assert check.status != 0
    assert service.launch_to_end() == 2
    for output in (check.output, service.errors()):
        (error,) = [text for text in output.splitlines() if f":{line}: " in text]
        assert "symbolic link" in error


# --- moments: reloads ------------------------------------------------------------------------------------------


def test_a_reload_while_the_reporter_waits_for_its_restart_happens_in_the_end(place, volume, infected, clean):
    service = place.start(include=volume / "home", exclude=volume / "home/none")
    create(volume / "home/excluded", EICAR)
    reporter = None
    for _ in range(4):  # so many that it is not started at once any more
        reporter = other_pid(service, "report", reporter)
        service.signal("report", signal.SIGKILL)
        wait_gone(reporter)
    service.sections["on-access"]["exclude"] = volume / "home/excluded"
    service.write_config()
    after = service.position()
    send_signal(service.process.pid, signal.SIGHUP)
    assert open_as(NOBODY, infected).error == "EPERM"

    service.expect(r"holdfast-report keeps failing")
    service.expect_found(infected, after)
    service.expect(r"configuration and signatures reloaded", after)
    assert open_as(NOBODY, volume / "home/excluded").content == EICAR
    expect_protection(infected, clean)
    assert service.status()["restarts"]["reporter"] == 4
    create(volume / "home/new", EICAR)
    assert open_as(NOBODY, volume / "home/new").error == "EPERM"
    service.expect_found(volume / "home/new")


def test_a_change_to_notify_lets_go_who_is_held(place, volume, infected, clean):
    service = place.start(include=volume / "home", hold_timeout="60m", engine={"workers": 2, "max-scan-time": "60m"})
    service.stop_workers()
    openers = {path: open_held(place, path) for path in (infected, clean)}
    service.sections["on-access"]["mode"] = "notify"
    service.write_config()
    service.reload()
    assert openers[infected].opened().content == EICAR
    assert openers[clean].opened().content == CLEAN
    service.continue_workers()
    service.expect_found(infected)


def start_patient(place, volume):
    """One that does not kill who hangs."""
    service = place.service(include=volume / "home")
    service.sections["service"]["heartbeat"] = "60s"
    service.write_config()
    return service.start()


def test_a_reload_that_is_refused_in_its_last_step_changes_nothing(place, volume, infected, clean):
    """The guard has the new configuration waiting when the reporter, which had agreed, dies."""
    service = start_patient(place, volume)
    new_log = service.log.with_name("new.log")
    service.sections["on-access"]["mode"] = "notify"
    service.sections["alerts"]["log-file"] = new_log
    service.write_config()
    guard = service.freeze(service.pid("guard"))
    service.disturbed = True
    after = service.position()
    send_signal(service.process.pid, signal.SIGHUP)
    # The reporter is asked right before the guard, and opens its log before it agrees.
    wait_until(new_log.exists, "the reporter has the new configuration")
    reporter = service.pid("report")
    wait_until(lambda: sleeps(reporter) and sleeps(service.process.pid), "the guard has been asked")
    service.signal("report", signal.SIGKILL)
    service.expect(r"reload refused", after)
    service.continue_workers(guard)

    assert service.status()["mode"] == "block"
    expect_protection(infected, clean)
    service.expect_found(infected, after)


# --- moments: processes that die -------------------------------------------------------------------------------


def test_the_engine_outlives_guards_that_are_killed(place, volume, infected, clean):
    service = place.start(include=volume / "home")
    engine = service.pid("engine")
    for _ in range(10):
        service.lose_guard()
        assert service.pid("engine") == engine
        service.standbys()
    assert service.status()["restarts"]["engine"] == 0
    expect_protection(infected, clean)


def test_the_engine_outlives_a_guard_that_it_has_never_met(place, volume, infected, clean):
    """It gets to know of that guard when it is gone already."""
    service = start_patient(place, volume)
    engine = service.freeze(service.pid("engine"))
    guard = None
    for _ in range(3):
        guard = other_pid(service, "guard", guard)
        service.lose_guard()
        service.standbys()
    service.continue_workers(engine)
    assert service.pid("engine") == engine and service.status()["restarts"]["engine"] == 0
    expect_protection(infected, clean)


@BOTH_ANSWERS
def test_when_the_last_worker_dies_and_no_engine_can_be_started_openers_do_not_wait(
    place, volume, infected, clean, policy, answer
):
    others = [volume.write(f"home/{i}", b"%d" % i) for i in range(3)]
    service = place.start(
        include=volume / "home",
        hold_timeout="60m",
        on_failure=policy,
        signatures={"good.hdb": "0" * 32 + ":1:Good\n"},
        engine={"workers": 2, "max-scan-time": "60m"},
    )
    bad = service.signatures / "bad.ndb"
    service.stop_workers()
    # More than there are workers: the last ones wait for one.
    openers = [open_held(place, path) for path in (infected, clean, *others)]
    service.write_signatures({bad.name: "this is no signature\n"})
    service.signal("engine", signal.SIGKILL)
    # Long before the next one fails, nothing but the end of the workers can help the openers.
    service.expect(r"holdfast-engine keeps failing: the next start is in 8 s")
    assert all(opener.is_held() for opener in openers), "their workers are still there"
    service.signal("worker", signal.SIGKILL)

    after = service.position()
    opened = [opener.opened() for opener in openers]
    assert not service.match("holdfast-engine keeps failing", after), "it was not that which helped them"
    assert (opened[0].error, opened[0].content) == answer
    assert {other.error for other in opened} == {answer[0]}
    opened = open_as(NOBODY, infected)
    assert (opened.error, opened.content) == answer, "whoever comes later"
    service.expect(r"not verified \(no engine is running\), " + {"allow": "allowed", "deny": "denied"}[policy])
    exit_code, text = text_status(service)
    assert exit_code == 2 and "no engine can be started: opens are answered by on-failure" in text, text

    bad.unlink()
    wait_until(lambda: service.status()["protecting"], "there is an engine again")
    expect_protection(infected, clean)


def test_files_that_nobody_waits_for_any_more_take_up_no_room(place, volume):
    """Workers that hang, and opens that go on and on."""
    paths = [volume.write(f"home/{i}", b"%d" % i) for i in range(50)]
    outside = volume.write("outside", CLEAN)
    service = place.start(
        include=volume / "home",
        hold_timeout="200ms",
        on_timeout="deny",
        engine={"workers": 2, "max-scan-time": "60m"},
    )
    service.stop_workers()
    service.disturbed = True
    openers = [
        place.keep(Actor("read", NOBODY, paths=[encode_path(path) for path in paths[i::10]])) for i in range(10)
    ]
    replies = [reply for opener in openers for reply in opener.finish()]
    assert [reply["error"] for reply in replies] == ["EPERM"] * len(paths)
    status = service.status()
    assert status["held"] == 0 and status["requests"] <= 2, status
    assert open_as(NOBODY, outside).content == CLEAN
    service.continue_workers()
    for path in paths:
        assert open_as(NOBODY, path).error is None


def test_the_log_tells_of_a_supervisor_that_was_killed(place, volume, clean):
    service = place.start(include=volume / "home")
    service.signal("holdfastd", signal.SIGKILL)
    wait_until(lambda: service.process.poll() is not None and not service.processes(), "all processes have ended")
    assert "holdfastd is gone" in service.lines()[-1], service.lines()[-1]
    assert "no longer protected" in service.lines()[-1]


def test_the_log_tells_of_a_supervisor_that_ended_as_it_should(place, volume, clean):
    """It is not taken for one that was killed."""
    service = place.start(include=volume / "home")
    assert service.stop() == 0
    assert "stopping: files are no longer protected" in service.lines()[-1], service.lines()[-1]
    assert not service.match("holdfastd is gone")


def test_when_it_ends_during_a_scan_nothing_is_left(place, volume, infected, clean):
    service = place.start(include=volume / "home", hold_timeout="60m", engine={"workers": 2, "max-scan-time": "60m"})
    service.stop_workers()
    openers = [open_held(place, path) for path in (infected, clean)]
    assert service.stop() == 0
    assert not service.processes()
    assert [opener.opened().content for opener in openers] == [EICAR, CLEAN]


# --- what they can reach ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["engine", "worker"])
def test_who_scans_has_no_network(place, volume, clean, role):
    service = place.start(include=volume / "home")
    service.workers()
    for pid in service.pids(role):
        assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
        interfaces = open(f"/proc/{pid}/net/dev", encoding="ascii").read().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in interfaces] in ([], ["lo"])


def test_a_worker_has_nothing_to_read_from_and_to_write_to(place, volume, clean):
    service = place.start(include=volume / "home")
    assert open_as(NOBODY, clean).content == CLEAN
    for pid in service.workers():
        # By number, not by name: in a chroot the name is another.
        standard = [os.stat(f"/proc/{pid}/fd/{number}").st_rdev for number in range(3)]
        assert standard == [os.stat("/dev/null").st_rdev] * 3
