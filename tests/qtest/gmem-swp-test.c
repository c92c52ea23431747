/*
 * sw-protected-guest and pc-q35-swp where KVM is not used
 *
 *  1. memory backends on a machine with private memory: which are refused
 *  2. the machine and the object call themselves unprotected
 *  3. command lines that must end with one message: other accelerators, -mem-path;
 *     vhost-user backends that connect before there are devices, also from a monitor
 *  4. an explicit confidential guest wins over the machine's default
 *
 * Starting such a machine, smm=on, migration and reset, vhost-user devices: the lab.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qlist.h"
#include "gmem-object.h"

#define MIB4 ", 'size': 4194304"
#define FILE_REASON "cannot be RAM of a machine with sw-protected-guest: the " \
    "guest's private pages must lie in a guest_memfd"

static const GmemRefusal private_refusals[] = {
    { "file", "'qom-type': 'memory-backend-file', 'mem-path': '/tmp'" MIB4,
      "memory-backend-file 'm0' " FILE_REASON },
    { "shm", "'qom-type': 'memory-backend-shm'" MIB4,
      "memory-backend-shm 'm0' " FILE_REASON },
    { "shm, not private",
      "'qom-type': 'memory-backend-shm', 'guest-memfd': false" MIB4, NULL },
    { "memfd", "'qom-type': 'memory-backend-memfd'" MIB4, "KVM required" },
    { "ram", "'qom-type': 'memory-backend-ram'" MIB4, "KVM required" },
    { "ram, not private",
      "'qom-type': 'memory-backend-ram', 'guest-memfd': false" MIB4, NULL },
    { "gmem, not private",
      "'qom-type': 'memory-backend-gmem', 'guest-memfd': false" MIB4,
      "memory-backend-gmem 'm0' cannot have guest-memfd=off: it is a "
      "guest_memfd" },
    { "gmem", "'qom-type': 'memory-backend-gmem'" MIB4, "'m0' needs KVM" },
};

static void test_backends(void)
{
    /* before the machine is built, so that it needs no RAM of its own yet */
    QTestState *qts = qtest_init("-machine q35-swp --preconfig -nodefaults");

    gmem_check_refusals(qts, private_refusals, G_N_ELEMENTS(private_refusals));
    qtest_quit(qts);
}

typedef struct Refused {
    const char *args;
    const char *error;
} Refused;

#define VHOST_USER "vhost-user: a device of this kind keeps buffers, or " \
    "pointers to them, from which a page that goes private cannot be taken"

static const Refused refused[] = {
    { "-machine q35-swp -accel tcg",
      "memory-backend-gmem 'pc.ram' needs KVM" },
    { "-machine pc-q35-swp -accel qtest",
      "memory-backend-gmem 'pc.ram' needs KVM" },
    { "-machine q35-swp -accel tcg -mem-path /tmp",
      "-mem-path /tmp is not possible: the guest's private pages must lie in "
      "a guest_memfd" },
    { "-machine q35,confidential-guest-support=s -accel tcg "
      "-object sw-protected-guest,id=s",
      "cannot set up private guest memory for sw-protected-guest: KVM "
      "required" },
    { "-object sw-protected-guest,id=s,on-fault=panic",
      "does not accept value 'panic'" },
    { "-machine q35-swp -accel qtest -chardev null,id=c "
      "-netdev vhost-user,id=n,chardev=c", VHOST_USER },
    { "-machine q35-swp -accel qtest -chardev null,id=c "
      "-object cryptodev-vhost-user,id=o,chardev=c", VHOST_USER },
    { "-machine q35 -object memory-backend-gmem,id=m,size=32M,share=off -m 32M",
      "memory-backend-gmem 'm' cannot have share=off" },
};

/* What QEMU says when it ends at once; NULL if it did not fail */
static char *run_qemu(const char *args, char **out)
{
    g_autofree char *line = g_strdup_printf("%s -display none -nodefaults -S "
                                            "%s", getenv("QTEST_QEMU_BINARY"),
                                            args);
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    g_autofree char *err = NULL;
    int status = 0;

    g_assert_true(g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, out, &err,
                               &status, NULL));
    if (g_spawn_check_wait_status(status, NULL)) {
        return NULL;
    }
    return g_steal_pointer(&err);
}

static void test_command_lines(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autofree char *out = NULL;
        g_autofree char *err = run_qemu(refused[i].args, &out);

        if (!err || !strstr(err, refused[i].error)) {
            g_test_message("arguments: %s", refused[i].args);
            g_test_message("expected:  %s", refused[i].error);
            g_test_message("answer:    %s", err ?: "success");
            g_test_fail();
        }
    }
}

/* Any other machine has other things to say, if any */
static void check_vhost_user(const char *machine, bool refuses)
{
    static const char *const commands[] = {
        "{'execute': 'netdev_add', 'arguments': {"
        " 'type': 'vhost-user', 'id': 'n0', 'chardev': 'c'}}",
        "{'execute': 'object-add', 'arguments': {"
        " 'qom-type': 'cryptodev-vhost-user', 'id': 'o0', 'chardev': 'c'}}",
    };
    QTestState *qts = qtest_initf("-machine %s --preconfig -nodefaults "
                                  "-chardev null,id=c", machine);

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        QDict *rsp = qtest_qmp(qts, "%p", qobject_from_json(commands[i],
                                                            &error_abort));
        QDict *error = qdict_get_qdict(rsp, "error");
        const char *desc = error ? qdict_get_str(error, "desc") : "success";

        if (!strcmp(desc, VHOST_USER) != refuses) {
            g_test_message("%s, %s: %s", machine, commands[i], desc);
            g_test_fail();
        }
        qobject_unref(rsp);
    }
    qtest_quit(qts);
}

static void test_vhost_user(void)
{
    check_vhost_user("q35-swp", true);
    check_vhost_user("q35", false);
}

static void test_labels(void)
{
    g_autofree char *machines = NULL, *object = NULL;

    g_assert_null(run_qemu("-machine help", &machines));
    g_assert_nonnull(strstr(machines, "no protection; for development and "
                            "tests) (alias of pc-q35-swp)"));
    g_assert_null(run_qemu("-object sw-protected-guest,help", &object));
    g_assert_nonnull(strstr(object, "this guest gives no protection"));
}

static char *machine_guest(const char *args)
{
    QTestState *qts = qtest_initf("%s --preconfig -nodefaults", args);
    QDict *rsp = qtest_qmp(qts, "{'execute': 'qom-get', 'arguments': {"
                           " 'path': '/machine',"
                           " 'property': 'confidential-guest-support'}}");
    char *path = g_strdup(qdict_get_try_str(rsp, "return"));

    qobject_unref(rsp);
    qtest_quit(qts);
    return path;
}

static void test_default_guest(void)
{
    g_autofree char *own = machine_guest("-machine q35-swp");
    g_autofree char *given = machine_guest(
        "-object sw-protected-guest,id=mine,on-fault=pause "
        "-machine q35-swp,confidential-guest-support=mine");

    g_assert_cmpstr(own, ==, "/machine/default-guest");
    g_assert_cmpstr(given, ==, "/objects/mine");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("gmem/swp/backends", test_backends);
    qtest_add_func("gmem/swp/command-lines", test_command_lines);
    qtest_add_func("gmem/swp/vhost-user", test_vhost_user);
    qtest_add_func("gmem/swp/labels", test_labels);
    qtest_add_func("gmem/swp/default-guest", test_default_guest);
    return g_test_run();
}
