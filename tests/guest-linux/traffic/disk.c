// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A disk: blocks written and read in place, past all caches.
 *
 * Each process has a part of the disk to itself and knows for every block of it what
 * was written last.  It writes all of them once, then some at random or reads
 * and compares some, and in the end compares all.
 */
#define _GNU_SOURCE
#include "traffic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096
#define WORDS (BLOCK / WORD)
#define MOST 64			/* blocks of a request */
#define PROCESSES 4		/* so many requests at once */

struct part {
	int fd;
	uint64_t first, count;	/* blocks */
	uint64_t seed, random;
	uint32_t *version;	/* how often each block was written */
	uint64_t *buffer;	/* of MOST blocks */
	struct counts *counts;
};

/* Blocks are known to the pattern by their place on the disk, not in the part. */
static uint64_t key_of(const struct part *p, uint64_t block)
{
	return mix(p->seed, p->version[block]);
}

static void check_size(ssize_t done, uint64_t size, const char *what)
{
	if (done >= 0)
		errno = EIO;
	if (done != (ssize_t)size)
		stop(what);
}

static void write_blocks(struct part *p, uint64_t block, uint64_t n)
{
	uint64_t i, at = p->first + block;

	for (i = 0; i < n; i++) {
		p->version[block + i]++;
		fill(p->buffer + i * WORDS, WORDS, key_of(p, block + i), (at + i) * WORDS);
	}
	check_size(pwrite(p->fd, p->buffer, n * BLOCK, at * BLOCK), n * BLOCK, "write");
	p->counts->out += n * BLOCK;
}

static void read_blocks(struct part *p, uint64_t block, uint64_t n)
{
	uint64_t i, at = p->first + block;

	/* What an earlier request left in the buffer must not pass for an answer */
	memset(p->buffer, 0x5a, n * BLOCK);
	check_size(pread(p->fd, p->buffer, n * BLOCK, at * BLOCK), n * BLOCK, "read");
	p->counts->in += n * BLOCK;
	for (i = 0; i < n; i++)
		p->counts->mismatches += !holds(p->buffer + i * WORDS, WORDS,
						key_of(p, block + i), (at + i) * WORDS);
}

static void all_blocks(struct part *p, void (*touch)(struct part *, uint64_t, uint64_t))
{
	uint64_t block, n;

	for (block = 0; block < p->count; block += n) {
		n = p->count - block < MOST ? p->count - block : MOST;
		touch(p, block, n);
	}
}

static void some_blocks(struct part *p)
{
	uint64_t block = draw(&p->random) % p->count;
	uint64_t n = 1 + draw(&p->random) % MOST;

	if (n > p->count - block)
		n = p->count - block;
	if (draw(&p->random) & 1)
		write_blocks(p, block, n);
	else
		read_blocks(p, block, n);
}

static _Noreturn void work(struct part *p, unsigned int seconds)
{
	uint64_t end = seconds_now() + seconds;

	p->version = calloc(p->count, sizeof(*p->version));
	p->buffer = aligned_alloc(BLOCK, MOST * BLOCK);
	if (!p->version || !p->buffer)
		stop("memory");
	all_blocks(p, write_blocks);
	while (seconds_now() < end)
		some_blocks(p);
	all_blocks(p, read_blocks);
	exit(0);
}

static int start(int fd, uint64_t blocks, unsigned int number, const struct job *job,
		 struct counts *counts)
{
	struct part part = {
		.fd = fd, .count = blocks / PROCESSES, .first = blocks / PROCESSES * number,
		.seed = job->seed, .random = mix(job->seed, number) | 1,
		.counts = counts + number,
	};
	int child = fork();

	if (child < 0)
		stop("fork");
	if (!child)
		work(&part, job->seconds);
	return child;
}

int disk(const char *path, uint64_t mib, const struct job *job)
{
	struct counts *counts = counts_new(PROCESSES), sum = { 0 };
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	int children[PROCESSES], i, failed = 0;

	if (fd < 0)
		stop(path);
	for (i = 0; i < PROCESSES; i++)
		children[i] = start(fd, (mib << 20) / BLOCK, i, job, counts);
	for (i = 0; i < PROCESSES; i++) {
		failed |= wait_for(children[i]);
		sum.out += counts[i].out;
		sum.in += counts[i].in;
		sum.mismatches += counts[i].mismatches;
	}
	return report(&sum, failed);
}
