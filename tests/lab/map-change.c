/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * map-change TURNS READ SWITCHED: one CPU reads a register of the device READ all the
 * while, another switches the memory of the device SWITCHED off and on in the lab's PCI
 * configuration, TURNS times, and looks that it is gone and there again. Ends with 0 if
 * the register always had its value; prints how often it was read, and what else was seen.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BAR_BYTES 4096
#define COMMAND   4
#define MEMORY    2

static atomic_int ended;
static unsigned long reads, wrong;
static uint32_t seen;

static int must_open(const char *device, const char *file, int flags)
{
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, file);
    fd = open(path, flags);
    if (fd < 0) {
        perror(path);
        exit(2);
    }
    return fd;
}

static void stay_on(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set)) {
        perror("sched_setaffinity");
        exit(2);
    }
}

static void *reader(void *bar)
{
    volatile uint32_t *id = bar;
    uint32_t first = *id, now;

    stay_on(1);
    for (; !ended; reads++) {
        now = *id;
        if (now != first) {
            wrong++;
            seen = now;
        }
    }
    return NULL;
}

static void *must_map(const char *device)
{
    void *bar = mmap(NULL, BAR_BYTES, PROT_READ, MAP_SHARED,
                     must_open(device, "resource0", O_RDWR), 0);

    if (bar == MAP_FAILED) {
        perror("resource0");
        exit(2);
    }
    return bar;
}

/* How often a switch had not the effect that it is for */
static int switch_memory(const char *device, int turns)
{
    volatile uint32_t *id = must_map(device);
    int fd = must_open(device, "config", O_RDWR), idle = 0;
    uint32_t there = *id;
    uint16_t old, off;

    if (pread(fd, &old, 2, COMMAND) != 2) {
        perror("config");
        exit(2);
    }
    old |= MEMORY;
    off = old & ~MEMORY;
    for (int i = 0; i < turns; i++) {
        if (pwrite(fd, &off, 2, COMMAND) != 2) {
            perror("config");
            exit(2);
        }
        idle += *id == there;
        if (pwrite(fd, &old, 2, COMMAND) != 2) {
            perror("config");
            exit(2);
        }
        idle += *id != there;
    }
    close(fd);
    return idle;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    void *bar;
    int idle;

    if (argc != 4) {
        fprintf(stderr, "usage: map-change TURNS READ SWITCHED\n");
        return 2;
    }
    bar = must_map(argv[2]);
    stay_on(0);
    pthread_create(&thread, NULL, reader, bar);
    idle = switch_memory(argv[3], atoi(argv[1]));
    ended = 1;
    pthread_join(thread, NULL);
    printf("read %lu times, %lu wrong, 0x%x at last; %d switches without effect\n",
           reads, wrong, seen, idle);
    return !reads || wrong || idle;
}
