/*
 * What a kernel offers, and which modes follow from it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The probe is real; kernels are rows of a table: capabilities, and what a guest_memfd
 * says to the new call.  Each is probed in a process of its own, as probing is done once.
 *
 *  1. for each kernel and kind of machine: what auto means, which modes can be asked for,
 *     and what those hear that cannot
 *  2. the call is tried only where its answer means something, and leaves no file
 *  3. what a new guest_memfd is made with
 */

#include "qemu/osdep.h"
#include <sys/syscall.h>
#include <sys/wait.h>
#include "qapi/error.h"
#include "qemu/memfd.h"
#include "hw/boards.h"
#include "system/gmem-kvm.h"
#include "system/hostmem-gmem.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "../../accel/kvm/gmem-uapi.h"

#define NO_MODE 99
#define BOTH 3                  /* MMAP and INIT_SHARED */
#define PRIVATE 8
#define SIZE (UINT64_C(1) << 20)

typedef struct Kernel {
    const char *name;
    bool guest_memfd;
    int flags;                  /* of 244 */
    int attributes;             /* of 233 */
    int in_place;               /* of 252 */
    int call;                   /* what KVM_SET_MEMORY_ATTRIBUTES2 says; 0: no such file */
    bool private_vm;
    bool launched;

    GmemBlockMode automatic;    /* NO_MODE: none */
    const char *none, *split, *in_place_error;  /* NULL: works */
    unsigned int calls;         /* of KVM_SET_MEMORY_ATTRIBUTES2 while probing */
} Kernel;

#define NO_PRIVATE(mode) "conversion=" mode " is for machines with private " \
    "memory, and this machine has none"
#define ALL_SHARED "conversion=none keeps all memory shared, but this machine " \
    "has private memory"
#define NEITHER "this kernel's KVM has neither memory attributes nor in-place " \
    "conversion, one of which private memory needs"
#define NOT_IN_PLACE "this kernel does not convert in place: it lacks " \
    "KVM_SET_MEMORY_ATTRIBUTES2 on guest_memfd, or that is switched off"
#define ONLY_IN_PLACE "this kernel converts in place, where a guest_memfd " \
    "holds shared pages too, and conversion=split cannot work"
#define NO_GMEM "KVM of this kernel has no guest_memfd for this type of VM"

static const Kernel kernels[] = {
    { "6.6, ordinary", .automatic = NO_MODE, .none = NO_GMEM, .split = NO_GMEM,
      .in_place_error = NO_GMEM },
    { "6.12, ordinary", true, 0, 0, 0, .automatic = NO_MODE,
      .none = "this kernel cannot map guest_memfd as shared memory",
      .split = NO_PRIVATE("split"), .in_place_error = NO_PRIVATE("in-place") },
    { "6.12, private", true, 0, PRIVATE, 0, ENOTTY, true,
      .automatic = GMEM_BLOCK_MODE_SPLIT, .none = ALL_SHARED,
      .in_place_error = NOT_IN_PLACE },
    { "7.3, ordinary", true, BOTH, 0, 0, ENOTTY,
      .automatic = GMEM_BLOCK_MODE_NONE, .split = NO_PRIVATE("split"),
      .in_place_error = NO_PRIVATE("in-place") },
    { "7.3, private", true, 1, PRIVATE, 0, ENOTTY, true,
      .automatic = GMEM_BLOCK_MODE_SPLIT, .none = ALL_SHARED,
      .in_place_error = NOT_IN_PLACE },
    { "7.4, ordinary", true, BOTH, 0, 0, EINVAL,
      .automatic = GMEM_BLOCK_MODE_NONE, .split = NO_PRIVATE("split"),
      .in_place_error = NO_PRIVATE("in-place") },
    { "7.4, private", true, BOTH, 0, PRIVATE, EINVAL, true,
      .automatic = GMEM_BLOCK_MODE_IN_PLACE, .none = ALL_SHARED,
      .split = ONLY_IN_PLACE },
    { "7.4, private, switched off", true, 1, PRIVATE, 0, ENOTTY, true,
      .automatic = GMEM_BLOCK_MODE_SPLIT, .none = ALL_SHARED,
      .in_place_error = NOT_IN_PLACE },
    { "another number, private", true, BOTH, 0, 0, EINVAL, true,
      .automatic = GMEM_BLOCK_MODE_IN_PLACE, .none = ALL_SHARED,
      .split = ONLY_IN_PLACE, .calls = 1 },
    { "neither, private", true, 1, 0, 0, ENOTTY, true, .automatic = NO_MODE,
      .none = ALL_SHARED, .split = NEITHER, .in_place_error = NOT_IN_PLACE,
      .calls = 1 },
    { "neither, and no file, private", true, 1, 0, 0, 0, true,
      .automatic = NO_MODE, .none = ALL_SHARED, .split = NEITHER,
      .in_place_error = NOT_IN_PLACE },
    { "7.4 without INIT_SHARED", true, 1, 0, PRIVATE, EINVAL, true,
      .automatic = NO_MODE, .none = ALL_SHARED, .split = ONLY_IN_PLACE,
      .in_place_error = "this kernel converts in place, but cannot map what is "
      "shared: it offers flags 0x1 of the 0x3" },
    { "7.4, launched", true, BOTH, 0, PRIVATE, EINVAL, true, true,
      .automatic = NO_MODE, .none = ALL_SHARED, .split = ONLY_IN_PLACE,
      .in_place_error = "this version cannot launch snp-guest where pages "
      "change their state in place" },
    { "7.3, launched", true, 1, PRIVATE, 0, ENOTTY, true, true,
      .automatic = GMEM_BLOCK_MODE_SPLIT, .none = ALL_SHARED,
      .in_place_error = NOT_IN_PLACE },
};

/* ---- in place of machine and KVM ---- */

MachineState *current_machine;
KVMState *kvm_state;
bool kvm_allowed;

static const Kernel *kernel;
static unsigned int calls;
static uint64_t made_with;

bool gmem_machine_has_private_memory(const MachineState *machine)
{
    return kernel->private_vm;
}

bool gmem_machine_is_launched(const MachineState *machine)
{
    return kernel->launched;
}

const char *gmem_machine_guest_name(const MachineState *machine)
{
    return "snp-guest";
}

int kvm_vm_check_extension(KVMState *s, unsigned int extension)
{
    switch (extension) {
    case KVM_CAP_GUEST_MEMFD:
    case KVM_CAP_USER_MEMORY2:
    case KVM_CAP_PRE_FAULT_MEMORY:
        return kernel->guest_memfd;
    case KVM_CAP_GUEST_MEMFD_FLAGS:
        return kernel->flags;
    case KVM_CAP_MEMORY_ATTRIBUTES:
        return kernel->attributes;
    case 252:
        return kernel->in_place;
    case KVM_CAP_VM_TYPES:
        return 3;
    }
    g_assert_not_reached();
}

int kvm_vm_ioctl(KVMState *s, unsigned long type, ...)
{
    struct kvm_create_guest_memfd *args;
    va_list ap;
    int fd;

    g_assert_cmpuint(type, ==, KVM_CREATE_GUEST_MEMFD);
    va_start(ap, type);
    args = va_arg(ap, struct kvm_create_guest_memfd *);
    va_end(ap);
    if (!kernel->call || args->flags & ~(uint64_t)kernel->flags) {
        return -EINVAL;
    }
    made_with = args->flags;
    fd = qemu_memfd_create("gmem", args->size, false, 0, 0, &error_abort);
    /* as the kernel makes it */
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    return fd;
}

/* libc's, but for the one call */
int ioctl(int fd, unsigned long request, ...)
{
    GmemKvmAttributes nothing = { };
    void *argument;
    va_list ap;

    va_start(ap, request);
    argument = va_arg(ap, void *);
    va_end(ap);
    if (request != 0xC080AED2) {
        return syscall(SYS_ioctl, fd, request, argument);
    }
    g_assert_cmpmem(argument, 128, &nothing, sizeof(nothing));
    calls++;
    errno = kernel->call;
    return -1;
}

/* ---- tests ---- */

static void check_mode(GmemBlockMode mode, const char *want)
{
    Error *err = NULL;
    bool good = gmem_kvm_mode_supported(mode, kernel->private_vm, &err);

    if (want) {
        g_assert_false(good);
        g_assert_nonnull(strstr(error_get_pretty(err), want));
        /* one sentence, as the house has it */
        g_assert_null(strstr(error_get_pretty(err), ". "));
        error_free(err);
    } else {
        g_assert_true(good);
        g_assert_null(err);
    }
}

static void check_auto(void)
{
    GmemBlockMode mode = NO_MODE;
    Error *err = NULL;
    bool good = gmem_kvm_choose_mode(kernel->private_vm, &mode, &err);

    g_assert_cmpint(good, ==, kernel->automatic != NO_MODE);
    g_assert_cmpint(!err, ==, good);
    if (good) {
        g_assert_cmpint(mode, ==, kernel->automatic);
    }
    g_assert_cmpint(gmem_kvm_private_supported(), ==, kernel->guest_memfd &&
                    (kernel->attributes || !kernel->split ||
                     strstr(kernel->split, "converts in place")));
    error_free(err);
}

static void check_made(int fd, uint64_t flags)
{
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
    g_assert_cmpuint(made_with, ==, flags);
    close(fd);
}

static void check_create(void)
{
    Error *err = NULL;

    if (kernel->in_place_error) {
        g_assert_cmpint(gmem_kvm_create_in_place(SIZE, GMEM_PAGE_SHARED, &err),
                        ==, -1);
        error_free(err);
    } else {
        check_made(gmem_kvm_create_in_place(SIZE, GMEM_PAGE_SHARED,
                                            &error_abort), BOTH);
        check_made(gmem_kvm_create_in_place(SIZE, GMEM_PAGE_PRIVATE,
                                            &error_abort), 1);
    }
    if (!kernel->none) {
        check_made(gmem_kvm_create_shared(SIZE, &error_abort), BOTH);
    }
}

static void check_kernel(void)
{
    int before = qemu_dup(0), after;

    kvm_state = (KVMState *)&kernel;
    g_assert_null(gmem_kvm_caps());
    kvm_allowed = true;
    g_assert_nonnull(gmem_kvm_caps());
    g_assert_cmpuint(calls, ==, kernel->calls);
    check_auto();
    check_mode(GMEM_BLOCK_MODE_NONE, kernel->none);
    check_mode(GMEM_BLOCK_MODE_SPLIT, kernel->split);
    check_mode(GMEM_BLOCK_MODE_IN_PLACE, kernel->in_place_error);
    check_create();
    g_assert_cmpuint(calls, ==, kernel->calls);
    /* the next free number is what it was: no file was left open */
    after = qemu_dup(0);
    g_assert_cmpint(after, ==, before + 1);
}

static void test_kernel(gconstpointer opaque)
{
    int status;
    pid_t pid;

    kernel = opaque;
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (!pid) {
        check_kernel();
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
}

static void test_no_kvm(void)
{
    GmemBlockMode mode;
    Error *err = NULL;

    g_assert_false(gmem_kvm_choose_mode(false, &mode, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "guest_memfd needs the KVM accelerator");
    g_assert_false(gmem_kvm_private_supported());
    error_free(err);
}

int main(int argc, char **argv)
{
    size_t i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(kernels); i++) {
        g_autofree char *path = g_strdup_printf("/gmem/probe/%s",
                                                kernels[i].name);

        g_test_add_data_func(path, &kernels[i], test_kernel);
    }
    g_test_add_func("/gmem/probe/no-kvm", test_no_kvm);
    return g_test_run();
}
