/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * drop: giving up privileges, for good. Each program calls one of these in one visible place,
 * before it touches anything that comes from outside. They return 0 or a negative errno, and a
 * program that cannot drop what it should must not go on.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * drop_capabilities() keeps exactly the n given capabilities (CAP_*), effective and permitted, in
 * no other set; the bounding set is reduced to the n_bounding given ones. Needs CAP_SETPCAP.
 */
int drop_capabilities(const int *keep, size_t n, const int *bounding, size_t n_bounding);

/* drop_has_capability() says whether we have one that we could keep. */
bool drop_has_capability(int capability);

/* drop_to_user() becomes uid and gid without supplementary groups and without a capability in any
 * set. no_new_privs is set, so that nothing executed afterwards can have any. */
int drop_to_user(uid_t uid, gid_t gid);

/* drop_new_privs() sets no_new_privs: no program executed from here on gains anything. */
int drop_new_privs(void);

/*
 * drop_filesystem() confines the process by Landlock: files below writable may be read, written,
 * made and removed, the n readable files, or files below such directories, read, and no other file
 * be opened. Descriptors it holds or is sent are not affected. Returns 1 where the kernel has no
 * Landlock.
 */
int drop_filesystem(const char *writable, const char *const *readable, size_t n);

/*
 * drop_writes() lets the process write, make, remove, link and rename below the n writable
 * directories only. Reading, executing and descriptors it holds are not affected. Returns 1 where
 * the kernel cannot: no Landlock, or one that forbids every rename between directories. The process
 * must have no new privileges, see above.
 */
int drop_writes(const char *const *writable, size_t n);

/* drop_has_landlock() says whether drop_filesystem() can do anything: some kernels have it switched
 * off, some containers forbid the call. */
bool drop_has_landlock(void);
