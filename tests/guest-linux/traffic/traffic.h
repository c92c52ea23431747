/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Traffic whose every byte is checked.
 *
 * Data is made of 64-bit words that depend on where they stand and on a key, so
 * that whoever has the key can tell a word that was lost, mixed up or left from
 * before.  What runs at the same time is a process each; they count in memory
 * that they share.
 */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORD sizeof(uint64_t)

struct counts {
	uint64_t out, in;	/* bytes written or sent, bytes read or received */
	uint64_t mismatches;	/* requests or frames with a wrong word */
};

/* What a program was asked to do */
struct job {
	unsigned int seconds;
	uint64_t seed;
};

/* main.c */
/* A message with the reason, and the end of this process, status 1. */
_Noreturn void stop(const char *what);
uint64_t mix(uint64_t seed, uint64_t number);
/* The next number of a sequence; *state is never 0. */
uint64_t draw(uint64_t *state);
void fill(uint64_t *words, size_t count, uint64_t key, uint64_t first);
/* Whether they are what fill() makes; says where they are not, a few times. */
bool holds(const uint64_t *words, size_t count, uint64_t key, uint64_t first);
uint64_t seconds_now(void);
struct counts *counts_new(size_t number);
/* 0 if @child ended well, else 1 */
int wait_for(int child);

/* Each prints its counts, and returns the program's exit status. */
int disk(const char *path, uint64_t mib, const struct job *job);
int listen_for(const char *address, unsigned int port, const struct job *job);
int connect_to(const char *address, unsigned int port, const struct job *job);
int report(const struct counts *counts, int failed);

#endif
