/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The requests of the command line, one after the other: requests= has three
 * numbers for each, the guest address, pages and attributes. What comes back is
 * for the host to judge; a RETURN line has it. That the guest is there to say
 * so is the result. Before each request stands a MARK, where step=1 waits.
 */
#include "tests.h"

#define MAX_REQUESTS 16

void test_request(void)
{
    uint64_t words[3 * MAX_REQUESTS];
    unsigned n = arg_list("requests", words, ARRAY_SIZE(words));
    char name[80];

    if (!n || n % 3) {
        fail("request", "words=%u, expected three for each request", n);
        return;
    }
    for (const uint64_t *w = words; w < words + n; w += 3) {
        long got;

        mark("request/%lu", (w - words) / 3);
        got = map_gpa(w[0], w[1], w[2]);
        if (got == RET_OK) {
            shadow_convert(w[0], w[1], w[2] & ATTR_PRIVATE);
        }
        say("RETURN 0x%lx 0x%lx 0x%lx %ld", w[0], w[1], w[2], got);
        format(name, sizeof(name), "request/0x%lx+0x%lx", w[0], w[1]);
        pass(name);
    }
}
