/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* overlay: where the files really are that an overlay shows (the kernel's overlayfs.rst). */
#include "../common/mounts.h"

/*
 * overlay_add_layers() adds the layers of an overlay, and of overlays among them, to mounts; see
 * mounts_add_layer(). They are known by the paths that the overlay was mounted with. Returns 0 or a
 * negative errno: -EINVAL for a relative path, -ENOENT and others where one does not lead to a
 * directory.
 */
int overlay_add_layers(struct mounts *mounts, size_t overlay);
