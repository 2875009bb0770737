# SPDX-License-Identifier: GPL-2.0-only
"""Parts of the work that are what people do all day: archives, git, a compiler, programs."""
import os
import random
import shutil
from pathlib import Path

from .ground import execute
from .stage import Case, Part

CLONE = Case("git-clone", "", "ms")
STATUS = Case("git-status", "git status, that has to read all of them", "ms")
STATUS_AGAIN = Case("git-status-again", "git status again, that need not", "ms")

# Without anybody's settings, and as whoever owns the files.
GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}

AGE = ("touch", "--no-create", "--date=1 hour ago")  # opens nothing

PROGRAM = Path("/bin/true")


def numbered(directory, i):
    """As open.c names them."""
    return directory / f"{i // 1000:03}" / f"{i:06}"


class Archive(Part):
    """An archive of new files is extracted and read: one at once, another when scan-ahead has done with it."""

    name = "extract"

    def __init__(self, options):
        super().__init__(options)
        self.extract = Case("extract", f"extract an archive of {options.files} files", "ms")
        self.at_once = Case("read-at-once", f"read {options.files} extracted files, at once", "ms")
        self.drained = Case("read-drained", f"read {options.files} extracted files, when scan-ahead is done", "ms")

    def archive(self, stage, i, which):
        return stage.place.base / f"archive{i}-{which}.tar"

    def prepare(self, stage):
        source = stage.place.base / "archived"
        for i in range(self.options.rounds):
            for which in ("once", "drained"):
                source.mkdir()
                stage.open("make", self.options.files, self.options.size, source)
                execute("tar", "-C", source, "-cf", self.archive(stage, i, which), ".")
                shutil.rmtree(source)

    def unpack(self, stage, product, i, which):
        directory = stage.volumes[product] / self.made(i)[which == "drained"]
        directory.mkdir(parents=True)
        return directory, stage.run("tar", "-C", directory, "-xf", self.archive(stage, i, which))[1]

    def measure(self, stage, i):
        for product in stage.turn(i):
            directory, took = self.unpack(stage, product, i, "once")
            stage.record(self.extract, product, took)
            stage.record(self.at_once, product, stage.ms("read", self.options.files, 1, directory))
            stage.drain(product)
        for product in stage.turn(i):
            directory, _ = self.unpack(stage, product, i, "drained")
            stage.drain(product)
            stage.record(self.drained, product, stage.ms("read", self.options.files, 1, directory))

    def made(self, i):
        return f"protected/extract/{i}-once", f"protected/extract/{i}-drained"


class Git(Part):
    """A repository of new files is cloned into the protected tree."""

    name = "git"

    def __init__(self, options):
        super().__init__(options)
        self.clone = CLONE._replace(title=f"git clone, {options.repository} files")

    def missing(self):
        return "" if shutil.which("git") else "git not installed, left out: apt install git"

    def repository(self, stage, i):
        return stage.place.base / f"repository{i}.git"

    def prepare(self, stage):
        for i in range(self.options.rounds):
            path = self.repository(stage, i)
            stage.run("git", "init", "--quiet", "--bare", "--initial-branch=main", path, env=GIT_ENVIRONMENT)
            stage.run("git", "-C", path, "fast-import", "--quiet", env=GIT_ENVIRONMENT, said=self.history())

    def history(self):
        """One commit of files with about a screenful of text, no two alike."""
        lines = ["commit refs/heads/main", "committer bench <bench@localhost> 1700000000 +0000", "data 5", "first"]
        for i in range(self.options.repository):
            text = "\n".join(f"{random.getrandbits(256):064x}" for _ in range(20))
            lines += [f"M 100644 inline directory{i // 50}/file{i}.txt", f"data {len(text)}", text]
        return "\n".join(lines) + "\n"

    def measure(self, stage, i):
        for product in stage.turn(i):
            target = stage.volumes[product] / self.made(i)[0]
            target.parent.mkdir(exist_ok=True)
            clone = "git", "clone", "--quiet", "--no-local", self.repository(stage, i), target
            stage.record(self.clone, product, stage.run(*clone, env=GIT_ENVIRONMENT)[1])
            # With other times than in the index, and older ones: read now, and not the next time.
            stage.run("find", target, "-name", ".git", "-prune", "-o", "-type", "f", "-exec", *AGE, "{}", "+")
            for case in (STATUS, STATUS_AGAIN):
                said, took = stage.run("git", "-C", target, "status", "--porcelain", env=GIT_ENVIRONMENT)
                assert not said, f"git status sees changes in a fresh clone: {said[:200]}"
                stage.record(case, product, took)
            stage.drain(product)

    def made(self, i):
        return f"protected/git/{i}", f"protected/git/{i}/directory0"


HEADER = """\
#ifndef PART{i}_H
#define PART{i}_H
struct part{i} {{ struct part{i} *next; char name[64]; size_t used; }};
int part{i}_work(struct part{i} *part, const char *text);
#endif
"""

SOURCE = """\
/* {salt:032x} */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
{includes}

static int compare(const void *a, const void *b)
{{
	return strcmp(*(char *const *)a, *(char *const *)b);
}}

int part{i}_work(struct part{i} *part, const char *text)
{{
	char *words[64], copy[512], *at;
	size_t n = 0;

	(void)snprintf(copy, sizeof(copy), "%s {salt}", text);
	for (at = strtok(copy, " "); at && n < 64; at = strtok(NULL, " "))
		words[n++] = at;
	qsort(words, n, sizeof(*words), compare);
	for (size_t i = 0; i < n; i++)
		part->used += strlen(words[i]) ^ i;
	(void)snprintf(part->name, sizeof(part->name), "%zu words, %s", n, n ? words[0] : strerror(errno));
	return n > {i} ? 0 : part->next ? part{i}_work(part->next, part->name) : -1;
}}
"""

NINJA = """\
rule cc
  command = cc -std=gnu17 -O2 -c $in -o $out
rule link
  command = cc $in -o $out
"""


class Compile(Part):
    """A small project of new files is built with all processors, its objects beside its sources."""

    name = "compile"

    def __init__(self, options):
        super().__init__(options)
        self.case = Case("compile", f"compile and link {options.sources} C files", "ms")

    def prepare(self, stage):
        for i in range(self.options.rounds):
            project = self.project()
            for directory in stage.directories(f"protected/compile/{i}"):
                for name, text in project.items():
                    (directory / name).write_text(text)

    def project(self):
        n = self.options.sources
        files = {f"part{i}.h": HEADER.format(i=i) for i in range(n)}
        includes = "\n".join(f'#include "part{i}.h"' for i in range(n))
        for i in range(n):
            files[f"part{i}.c"] = SOURCE.format(i=i, includes=includes, salt=random.getrandbits(128))
        calls = " + ".join(f'part{i}_work(&(struct part{i}){{0}}, "a b c")' for i in range(n))
        files["main.c"] = f"#include <stddef.h>\n{includes}\nint main(void) {{ return {calls}; }}\n"
        names = [f"part{i}" for i in range(n)] + ["main"]
        builds = "".join(f"build {name}.o: cc {name}.c\n" for name in names)
        files["build.ninja"] = f"{NINJA}{builds}build program: link {' '.join(f'{name}.o' for name in names)}\n"
        return files

    def measure(self, stage, i):
        for product in stage.turn(i):
            directory = stage.volumes[product] / f"protected/compile/{i}"
            stage.record(self.case, product, stage.run("ninja", "--quiet", "-j", os.cpu_count(), "-C", directory)[1])
            stage.drain(product)


class Programs(Part):
    """Short programs are run one after the other: one over and over, and each of many for the first time."""

    name = "run"

    def __init__(self, options):
        super().__init__(options)
        self.again = Case("run-again", f"run a program {options.programs} times", "ms")
        self.first = Case("run-first", f"run {options.programs} programs that nobody has opened yet", "ms")

    def prepare(self, stage):
        """Something behind its end does not matter to a program."""
        content = PROGRAM.read_bytes()
        for directory in stage.directories("protected/programs/again"):
            self.write(numbered(directory, 0), content)
        for i in range(self.options.rounds):
            for number in range(self.options.programs):
                for directory in stage.directories(f"protected/programs/{i}"):
                    self.write(numbered(directory, number), content + random.randbytes(16))

    @staticmethod
    def write(path, content):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)

    def measure(self, stage, i):
        n = self.options.programs
        for product in stage.turn(i):
            base = stage.volumes[product] / "protected/programs"
            stage.open("run", 1, 10, base / "again")
            stage.record(self.again, product, stage.ms("run", 1, n, base / "again"))
            stage.record(self.first, product, stage.ms("run", n, n, base / str(i)))


PARTS = (Archive, Git, Compile, Programs)
