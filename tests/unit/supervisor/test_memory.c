/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/supervisor/memory.h"
#include "../support/unit.h"

#define MIB (UINT64_C(1) << 20)

static const char meminfo[] = "MemTotal:       24592424 kB\n"
			      "MemFree:         1000000 kB\n"
			      "MemAvailable:    2097152 kB\n"
			      "Buffers:          123456 kB\n";

/* Of 900 MiB in use 300 could be dropped. */
static const char current[] = "943718400\n";
static const char stat[] = "anon 629145600\n"
			   "file 314572800\n"
			   "inactive_anon 0\n"
			   "active_anon 629145600\n"
			   "inactive_file 104857600\n"
			   "active_file 209715200\n";

static void the_machine_says_what_is_available(void **state)
{
	assert_int_equal(memory_of_machine(meminfo), 2048 * MIB);
	/* of kernels before 3.14, of none */
	assert_int_equal(memory_of_machine("MemTotal: 1 kB\nMemFree: 1 kB\n"), MEMORY_UNKNOWN);
	assert_int_equal(memory_of_machine(""), MEMORY_UNKNOWN);
	assert_int_equal(memory_of_machine("MemAvailable: much\n"), MEMORY_UNKNOWN);
}

static void a_group_leaves_what_its_limit_leaves(void **state)
{
	assert_int_equal(memory_of_group("1073741824\n", "max\n", current, stat),
			 (1024 - 600) * MIB);
	/* without the third file, all that is in use counts */
	assert_int_equal(memory_of_group("1073741824\n", "max\n", current, ""), (1024 - 900) * MIB);
	/* it is over its limit */
	assert_int_equal(memory_of_group("104857600\n", "max\n", current, stat), 0);
	/* what could be dropped changes while it is read */
	assert_int_equal(memory_of_group("1073741824\n", "max\n", "4096\n", stat), 1024 * MIB);
	/* the lesser of the two limits counts, and either may be the only one */
	assert_int_equal(memory_of_group("1073741824\n", "734003200\n", current, stat), 100 * MIB);
	assert_int_equal(memory_of_group("734003200\n", "1073741824\n", current, stat), 100 * MIB);
	assert_int_equal(memory_of_group("max\n", "734003200\n", current, stat), 100 * MIB);
}

static void a_group_without_a_limit_leaves_all(void **state)
{
	assert_int_equal(memory_of_group("max\n", "max\n", current, stat), MEMORY_UNKNOWN);
	assert_int_equal(memory_of_group("", "max\n", current, stat), MEMORY_UNKNOWN);
	assert_int_equal(memory_of_group("1073741824\n", "max\n", "", stat), MEMORY_UNKNOWN);
}

static void an_engine_needs_its_size_and_some_more(void **state)
{
	assert_true(memory_is_short(1000 * MIB, 1000 * MIB));
	assert_true(memory_is_short(1099 * MIB, 1000 * MIB));
	assert_false(memory_is_short(1100 * MIB, 1000 * MIB));
	assert_false(memory_is_short(MEMORY_UNKNOWN, 1000 * MIB));
	/* nobody has said how large it is */
	assert_false(memory_is_short(0, 0));
}

static void what_is_read_is_there_on_this_machine(void **state)
{
	struct memory memory;

	memory_open(&memory);
	if (memory.meminfo < 0) {
		print_message("skipped: /proc is not mounted\n");
		skip();
	}
	assert_true(memory_available(&memory) > 0);
	assert_true(memory_available(&memory) < MEMORY_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_machine_says_what_is_available),
		cmocka_unit_test(a_group_leaves_what_its_limit_leaves),
		cmocka_unit_test(a_group_without_a_limit_leaves_all),
		cmocka_unit_test(an_engine_needs_its_size_and_some_more),
		cmocka_unit_test(what_is_read_is_there_on_this_machine),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
