/* What a service has given up before it serves, in the thread that gave it up and in one that was there
 * before. */
#include "service_tiny.h"

#include <jansson.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>

#include "common/sanitizers.h"

enum { NOBODY = 65534 };

static void assert_number(const json_t *line, const char *key, json_int_t expected)
{
    const json_t *value = json_object_get(line, key);
    if (!json_is_integer(value) || json_integer_value(value) != expected)
        fail_msg("%s is %lld, not %lld", key, (long long)json_integer_value(value), (long long)expected);
}

/* The next line of the probe; uid and gid are those that the service must have. */
static void assert_locked_down(struct child *child, uid_t uid, gid_t gid)
{
    assert_true(child_logs(child, "tiny.probe"));
    json_t *line = json_loads(child->line, 0, NULL);
    assert_non_null(line);
    assert_number(line, "execve", EPERM); /* not ENOENT: the filter is asked before the file system */
    assert_number(line, "setns", EPERM);  /* not EBADF */
    assert_number(line, "no_new_privs", 1);
    assert_number(line, "dumpable", TG_SANITIZED);
    assert_number(line, "core", 0);
    assert_number(line, "uid", uid);
    assert_number(line, "gid", gid);
    json_decref(line);
}

static void a_user_that_is_not_known_is_refused(void **state)
{
    struct child *child = *state;
    child_configure(child, "user: tg-no-such-user\n");
    child_start(child, "--config", child->config, NULL);
    assert_true(child_logs(child, "service.failed"));
    assert_non_null(strstr(child->line, "user \\\"tg-no-such-user\\\" is not known here"));
    assert_int_equal(child_end(child), 1);
}

static void who_is_not_root_cannot_become_another(void **state)
{
    struct child *child = *state;
    child_configure(child, "user: root\n");
    if (geteuid() == 0) {
        child->uid = NOBODY;
        assert_int_equal(chmod(child->directory, 0777), 0);
        assert_int_equal(chmod(child->config, 0644), 0);
    }
    child_start(child, "--config", child->config, NULL);
    assert_true(child_logs(child, "service.failed"));
    assert_non_null(strstr(child->line, "start as root or as that user"));
    assert_int_equal(child_end(child), 1);
}

static void all_threads_are_locked_down(void **state)
{
    struct child *child = *state;
    child_start(child, "--config", child->config, NULL);
    assert_locked_down(child, geteuid(), getegid());
    assert_locked_down(child, geteuid(), getegid());
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_true(child_logs(child, "service.stopped")); /* the filter lets it end in order */
    assert_int_equal(child_end(child), 0);
}

static void the_user_is_changed_for_good(void **state)
{
    struct child *child = *state;
    const struct passwd *nobody = getpwnam("nobody");
    if (geteuid() != 0 || nobody == NULL) {
        skip();
        return;
    }
    child_configure(child, "user: nobody\n");
    child_start(child, "--config", child->config, NULL);
    assert_locked_down(child, nobody->pw_uid, nobody->pw_gid);
    assert_non_null(strstr(child->line, "\"groups\":1"));
    assert_locked_down(child, nobody->pw_uid, nobody->pw_gid);
    char *reason = NULL;
    (void)child_health(child, "", &reason); /* serves all the same */
    free(reason);
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_true(child_logs(child, "service.stopped"));
    assert_int_equal(child_end(child), 0);
}

#define SERVICE_TEST(f) cmocka_unit_test_setup_teardown(f, child_setup, child_teardown)

int main(int argc, char **argv)
{
    tiny_main(argc, argv);
    const struct CMUnitTest tests[] = {
        SERVICE_TEST(a_user_that_is_not_known_is_refused),
        SERVICE_TEST(who_is_not_root_cannot_become_another),
        SERVICE_TEST(all_threads_are_locked_down),
        SERVICE_TEST(the_user_is_changed_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
