/* SPDX-License-Identifier: GPL-2.0-only */
#include "service.h"

#include "../common/clock.h"
#include "client.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define RETRY_MS 100

static int service_ask_info(int fd, struct wire_engine_info *ret_info)
{
	const struct wire_plain ask = {.header = WIRE_INIT(WIRE_SCAN_INFO, struct wire_plain)};
	int r = client_ask(fd, &ask.header, WIRE_ENGINE_INFO, ret_info, sizeof(*ret_info));

	if (r == 0 && (!wire_string_ok(ret_info->engine, sizeof(ret_info->engine)) ||
		       !wire_string_ok(ret_info->versions, sizeof(ret_info->versions))))
		r = -EPROTO;
	return r;
}

int service_open(struct service *service, const char *run_dir, char *problem, size_t problem_size)
{
	int fd = client_connect(run_dir, SCAN_SOCKET_NAME), r;

	*service = (struct service){.run_dir = run_dir, .first = -1};
	r = fd < 0 ? fd : service_ask_info(fd, &service->info);
	if (r == 0) {
		atomic_store(&service->first, fd);
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (r == -ENOENT || r == -ECONNREFUSED)
		(void)snprintf(problem, problem_size,
			       "holdfastd is not running (%s/%s): start it, as with 'systemctl "
			       "start holdfastd', or scan without it: holdfast scan --standalone",
			       run_dir, SCAN_SOCKET_NAME);
	else
		(void)snprintf(problem, problem_size,
			       "cannot ask the service (%s/%s): %s; 'holdfast scan --standalone' "
			       "does without it",
			       run_dir, SCAN_SOCKET_NAME,
			       r == -ETIMEDOUT ? "it does not answer" : strerror(-r));
	return r;
}

int service_connect(void *context, int lost, char *problem, size_t problem_size)
{
	struct service *service = context;
	uint64_t patience_us = lost >= 0 ? SERVICE_PATIENCE_S * CLOCK_US_PER_SEC : 0;
	uint64_t began_us = clock_monotonic_us();
	int fd = atomic_exchange(&service->first, -1);

	while (fd < 0) {
		fd = client_connect(service->run_dir, SCAN_SOCKET_NAME);
		if (fd >= 0 || clock_monotonic_us() - began_us >= patience_us)
			break;
		(void)usleep(RETRY_MS * 1000);
	}
	if (fd < 0)
		(void)snprintf(problem, problem_size,
			       "the service has gone: cannot connect to "
			       "%s/%s: %s",
			       service->run_dir, SCAN_SOCKET_NAME, strerror(-fd));
	return fd;
}
