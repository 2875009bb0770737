# SPDX-License-Identifier: GPL-2.0-only
"""What each program links, by the table in docs/ARCHITECTURE.md, and how it was hardened."""
import re

import pytest
from harness import BUILD, is_sanitized, program, run

PRIVILEGED = ("holdfastd", "holdfast-guard")

# The libraries a program may name itself. libseccomp may be in all but the command line.
EVERYONE = {"libc"}
LINKS = {
    "holdfastd": {"libsystemd", "libcap-ng", "libinih", "libseccomp"},
    # libsodium: the hash that verdicts are told by; libjansson: the reports of full scans.
    "holdfast-guard": {"libsystemd", "libcap-ng", "libsodium", "libjansson", "libseccomp"},
    # libcap-ng: the engine checks the privileges it was started with.
    # libcrypto: the digest that the content of files is told by.
    "holdfast-engine": {"libclamav", "libcrypto", "libseccomp", "libcap-ng"},
    "holdfast-porter": set(),
    "holdfast-report": {"libsystemd", "libcurl", "libseccomp"},
    # libarchive and libmicrohttpd: what cdiffs are applied with, see src/fetcher/patch.c.
    "holdfast-fetch": {
        "libcurl",
        "libclamav",
        "libfreshclam",
        "libjansson",
        "libarchive",
        "libmicrohttpd",
        "libseccomp",
        "libcap-ng",
    },
    # libinih: explain and check-config read the configuration with the code that the service has.
    # libcap-ng: it starts an engine of its own (scan --standalone), without privileges.
    "holdfast": {"libjansson", "libncurses", "libtinfo", "libinih", "libcap-ng"},
}

# What may come along with the libraries above. libcap is libsystemd's, not ours.
BROUGHT_BY_LIBSYSTEMD = {"libcap", "libgcrypt", "libgpg-error", "liblzma", "libzstd", "liblz4", "libm"}
SANITIZERS = {"libasan", "libubsan", "libgcc_s", "libstdc++", "libm", "libpthread", "libdl", "librt", "libresolv"}

PROGRAMS = pytest.mark.parametrize("name", LINKS)


def stem(library):
    """libsystemd.so.0 -> libsystemd"""
    return re.sub(r"\.so.*", "", library.rsplit("/", 1)[-1])


def needed(name):
    return {stem(library) for library in re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", program(name)))}


def loaded(name):
    """All that the loader maps, with what the libraries bring along."""
    lines = run("ldd", program(name)).splitlines()
    names = {stem(line.split()[0]) for line in lines}
    return names - {"linux-vdso", "ld-linux-x86-64", "ld-linux-aarch64"}


def of_the_build():
    return SANITIZERS if is_sanitized() else set()


@PROGRAMS
def test_a_program_names_only_the_libraries_of_its_row(name):
    extra = needed(name) - LINKS[name] - EVERYONE - of_the_build()
    assert not extra, f"{name} links {sorted(extra)}"


def test_every_program_that_is_built_has_a_row():
    built = {path.name for path in (BUILD / "src").iterdir() if path.name.startswith("holdfast") and path.is_file()}
    assert built == set(LINKS)


@pytest.mark.parametrize("name", PRIVILEGED)
def test_nothing_that_reads_files_from_anywhere_is_in_a_privileged_program(name):
    libraries = loaded(name)
    assert not libraries & {"libclamav", "libcurl", "libfreshclam", "libssl", "libcrypto", "libxml2", "libz"}
    extra = libraries - LINKS[name] - EVERYONE - BROUGHT_BY_LIBSYSTEMD - of_the_build()
    assert not extra, f"{name} loads {sorted(extra)}"


@PROGRAMS
def test_a_program_is_position_independent_and_resolved_before_it_runs(name):
    header = run("readelf", "-h", program(name))
    assert re.search(r"Type:\s+DYN", header), "not a position-independent executable"
    segments = run("readelf", "-lW", program(name))
    assert "GNU_RELRO" in segments
    stack = re.search(r"GNU_STACK.*?\s(R\w*)\s", segments)
    assert stack and "E" not in stack[1], f"its stack is executable: {stack}"
    dynamic = run("readelf", "-d", program(name))
    assert "BIND_NOW" in dynamic or re.search(r"FLAGS_1.*NOW", dynamic), "lazy binding: RELRO is not full"
    assert "TEXTREL" not in dynamic
    assert not re.search(r"\((RPATH|RUNPATH)\)", dynamic), "it looks for libraries where it was built"


@PROGRAMS
def test_a_program_is_compiled_with_its_protections(name):
    symbols = run("readelf", "--dyn-syms", "-W", program(name))
    assert "__stack_chk_fail" in symbols, "no stack protector"
    if is_sanitized():
        pytest.skip("the sanitizers bring checks of their own in place of fortified functions")
    assert re.search(r"__\w+_chk@", symbols.replace("__stack_chk_fail", "")), "no fortified functions"
