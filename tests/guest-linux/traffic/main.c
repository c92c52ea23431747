// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * traffic disk FILE MIB SECONDS SEED            the first MIB of FILE, with O_DIRECT
 * traffic listen ADDRESS PORT SECONDS SEED      one TCP connection, both directions
 * traffic connect ADDRESS PORT SECONDS SEED     the other end of it
 *
 * Prints "out=BYTES in=BYTES mismatches=N" in the end.  Exit status: 0 if all went
 * well, 1 if something failed or did not match, 2 for wrong use.
 */
#include "traffic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_SAID 5

void stop(const char *what)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
	exit(1);
}

uint64_t mix(uint64_t seed, uint64_t number)
{
	uint64_t x = (seed + 1) * 0xd6e8feb86659fd93 ^ (number + 1) * 0xa0761d6478bd642f;

	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93;
	return x ^ x >> 29;
}

uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 11;
}

static uint64_t word_of(uint64_t key, uint64_t position)
{
	return (position + 1) * 0x9e3779b97f4a7c15 ^ key;
}

void fill(uint64_t *words, size_t count, uint64_t key, uint64_t first)
{
	size_t i;

	for (i = 0; i < count; i++)
		words[i] = word_of(key, first + i);
}

bool holds(const uint64_t *words, size_t count, uint64_t key, uint64_t first)
{
	static unsigned int said;
	size_t i;

	for (i = 0; i < count && words[i] == word_of(key, first + i); i++)
		;
	if (i == count)
		return true;
	if (said++ < MOST_SAID)
		fprintf(stderr, "traffic: byte %llu: %#llx and not %#llx\n",
			(unsigned long long)(first + i) * WORD,
			(unsigned long long)words[i],
			(unsigned long long)word_of(key, first + i));
	return false;
}

uint64_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

struct counts *counts_new(size_t number)
{
	void *memory = mmap(NULL, number * sizeof(struct counts), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		stop("memory");
	return memory;
}

int wait_for(int child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		stop("waitpid");
	return status != 0;
}

int report(const struct counts *counts, int failed)
{
	printf("out=%llu in=%llu mismatches=%llu\n", (unsigned long long)counts->out,
	       (unsigned long long)counts->in, (unsigned long long)counts->mismatches);
	return failed || counts->mismatches;
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || value < least || value > most) {
		fprintf(stderr, "traffic: %s is no number from %llu to %llu\n", text,
			(unsigned long long)least, (unsigned long long)most);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	struct job job;

	if (argc != 6) {
		fprintf(stderr, "usage: traffic disk FILE MIB SECONDS SEED\n"
				"       traffic listen|connect ADDRESS PORT SECONDS SEED\n");
		return 2;
	}
	job.seconds = number(argv[4], 1, 86400);
	job.seed = number(argv[5], 0, UINT32_MAX);
	if (!strcmp(argv[1], "disk"))
		return disk(argv[2], number(argv[3], 1, 1024), &job);
	if (!strcmp(argv[1], "listen"))
		return listen_for(argv[2], number(argv[3], 1, 65535), &job);
	if (!strcmp(argv[1], "connect"))
		return connect_to(argv[2], number(argv[3], 1, 65535), &job);
	fprintf(stderr, "traffic: %s is none of disk, listen, connect\n", argv[1]);
	return 2;
}
