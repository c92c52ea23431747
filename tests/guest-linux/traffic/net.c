// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A network: one TCP connection, data both ways at once.
 *
 * A frame is its size in bytes, then that many bytes of the sender's stream; the
 * last frame has none.  Sizes differ from one word to 64 KiB and each frame is
 * sent by itself, so that packets of all sizes come.  The protocol's checksum proves
 * nothing here, because a virtual card says that somebody has looked at it.
 */
#include "traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define MOST_WORDS 8192
#define SHIFTS 14		/* 2^0 ... 2^13 words, each as likely */
#define PATIENCE 200		/* seconds without a byte */

enum { FROM_CONNECT, FROM_LISTEN };

struct frame {
	uint64_t bytes;
	uint64_t words[MOST_WORDS];
};

static struct frame frame;

static void send_frame(int s, uint64_t bytes)
{
	const char *at = (const char *)&frame;
	size_t left = sizeof(frame.bytes) + bytes;
	ssize_t n;

	frame.bytes = bytes;
	for (; left; left -= n, at += n) {
		n = send(s, at, left, MSG_NOSIGNAL);
		if (n < 0)
			stop("send");
	}
}

static _Noreturn void send_all(int s, int from, const struct job *job, struct counts *counts)
{
	uint64_t key = mix(job->seed, from), random = key | 1;
	uint64_t end = seconds_now() + job->seconds, position = 0, words;

	while (seconds_now() < end) {
		words = 1 + draw(&random) % (UINT64_C(1) << draw(&random) % SHIFTS);
		fill(frame.words, words, key, position);
		send_frame(s, words * WORD);
		position += words;
		counts->out = position * WORD;
	}
	send_frame(s, 0);
	exit(0);
}

static void receive(int s, void *to, size_t left)
{
	char *at = to;
	ssize_t n;

	for (; left; left -= n, at += n) {
		n = recv(s, at, left, 0);
		if (!n)
			errno = ECONNRESET;
		if (n <= 0)
			stop("receive");
	}
}

static void receive_all(int s, int from, const struct job *job, struct counts *counts)
{
	uint64_t key = mix(job->seed, from), position = 0;

	for (;;) {
		receive(s, &frame.bytes, sizeof(frame.bytes));
		if (!frame.bytes)
			return;
		if (frame.bytes > sizeof(frame.words) || frame.bytes % WORD) {
			errno = EBADMSG;
			stop("size of a frame");
		}
		receive(s, frame.words, frame.bytes);
		counts->mismatches += !holds(frame.words, frame.bytes / WORD, key, position);
		position += frame.bytes / WORD;
		counts->in = position * WORD;
	}
}

static int exchange(int s, int own, int other, const struct job *job)
{
	struct counts *counts = counts_new(1);
	struct timeval patience = { .tv_sec = PATIENCE };
	int child, on = 1;

	if (setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)))
		stop("setsockopt");
	child = fork();
	if (child < 0)
		stop("fork");
	if (!child)
		send_all(s, own, job, counts);
	receive_all(s, other, job, counts);
	return report(counts, wait_for(child));
}

static int open_socket(const char *address, unsigned int port, struct sockaddr_in *where)
{
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*where = (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons(port) };
	if (inet_pton(AF_INET, address, &where->sin_addr) != 1) {
		errno = EINVAL;
		stop(address);
	}
	if (s < 0)
		stop("socket");
	return s;
}

int listen_for(const char *address, unsigned int port, const struct job *job)
{
	struct sockaddr_in where;
	int s = open_socket(address, port, &where), peer, on = 1;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s, (struct sockaddr *)&where, sizeof(where)) || listen(s, 1))
		stop("listen");
	fprintf(stderr, "traffic: listening\n");
	peer = accept(s, NULL, NULL);
	if (peer < 0)
		stop("accept");
	return exchange(peer, FROM_LISTEN, FROM_CONNECT, job);
}

int connect_to(const char *address, unsigned int port, const struct job *job)
{
	struct sockaddr_in where;
	int s = open_socket(address, port, &where);

	if (connect(s, (struct sockaddr *)&where, sizeof(where)))
		stop("connect");
	return exchange(s, FROM_CONNECT, FROM_LISTEN, job);
}
