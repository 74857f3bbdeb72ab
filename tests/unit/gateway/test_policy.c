/* Policies: what cannot be read, what is refused whatever stands in them, what is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "services/gateway/policy.h"

static struct policy_set *read_one(char **targets, size_t count, enum tg_code expected)
{
    struct policy_config config = {.name = (char[]){"p"}, .targets = {.items = targets, .count = count}};
    struct config_list list = {.items = &config, .count = 1};
    struct policy_set *set = NULL;
    struct tg_error err;
    assert_int_equal(policy_set_new(&list, &set, &err), expected);
    if (expected != TG_OK)
        assert_non_null(strstr(err.text, targets[0]));
    return set;
}

static void targets_that_cannot_be_read(void **state)
{
    (void)state;
    char *bad[] = {(char[]){"10.0.0.1"},
                   (char[]){"10.0.0.1:"},
                   (char[]){"10.0.0.1:0"},
                   (char[]){"10.0.0.1:65536"},
                   (char[]){"10.0.0.1:90-80"},
                   (char[]){"10.0.0.1:80-"},
                   (char[]){"10.0.0.1:+80"},
                   (char[]){"10.0.0.0/33:80"},
                   (char[]){"10.0.0.0/:80"},
                   (char[]){"10.0.0.0/x:80"},
                   (char[]){":80"},
                   (char[]){"[]:80"},
                   (char[]){"[::1:80"},
                   (char[]){"[::/129]:80"},
                   (char[]){"a b:80"},
                   (char[]){"name/24:80"},
                   (char[]){"-x:80"},
                   (char[]){"10.0.0.1:80 "},
                   (char[]){"10.0.0.1:80-90-100"},
                   (char[]){"*:80"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(read_one(&bad[i], 1, TG_INVALID_ARGUMENT));
}

static void the_same_policy_twice(void **state)
{
    (void)state;
    char *target = (char[]){"10.0.0.1:80"};
    struct policy_config configs[2] = {{.name = (char[]){"p"}, .targets = {.items = &target, .count = 1}}};
    configs[1] = configs[0];
    struct config_list list = {.items = configs, .count = 2};
    struct policy_set *set;
    assert_int_equal(policy_set_new(&list, &set, NULL), TG_INVALID_ARGUMENT);
}

static enum tg_code judge(const struct policy *policy, const char *host, const char *address, uint32_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return policy_check_address(policy, host, port, (struct sockaddr *)&v4, NULL);
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return policy_check_address(policy, host, port, (struct sockaddr *)&v6, NULL);
}

/* A policy as wide as can be written does not open what only a literal address opens. */
static void guarded_addresses(void **state)
{
    (void)state;
    static const char *const guarded[] = {"0.0.0.0",
                                          "0.1.2.3",
                                          "127.0.0.1",
                                          "127.255.255.255",
                                          "169.254.169.254",
                                          "169.254.1.1",
                                          "224.0.0.1",
                                          "239.1.1.1",
                                          "255.255.255.255",
                                          "100.100.100.200",
                                          "168.63.129.16",
                                          "::",
                                          "::1",
                                          "fe80::1",
                                          "febf::1",
                                          "ff02::1",
                                          "::ffff:127.0.0.1",
                                          "::ffff:169.254.169.254",
                                          "::127.0.0.1",
                                          "fd00:ec2::254",
                                          "64:ff9b::7f00:1"};
    char *wide[] = {(char[]){"0.0.0.0/0:1-65535"}, (char[]){"[::/0]:1-65535"}, (char[]){"some.name:1-65535"}};
    struct policy_set *set = read_one(wide, 3, TG_OK);
    const struct policy *policy = policy_find(set, "p");
    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
        assert_int_equal(judge(policy, "some.name", guarded[i], 80), TG_PERMISSION_DENIED);
        assert_int_equal(policy_check_host(policy, guarded[i], 80, NULL), TG_PERMISSION_DENIED);
    }
    assert_int_equal(judge(policy, "other.name", "10.1.2.3", 80), TG_OK);
    assert_int_equal(judge(policy, "some.name", "2001:db8::1", 80), TG_OK);
    policy_set_free(set);

    char *literal[] = {(char[]){"127.0.0.1:80"}, (char[]){"[fe80::1]:80"}, (char[]){"127.0.0.0/8:81"}};
    set = read_one(literal, 3, TG_OK);
    policy = policy_find(set, "p");
    assert_int_equal(policy_check_host(policy, "127.0.0.1", 80, NULL), TG_OK);
    assert_int_equal(policy_check_host(policy, "::ffff:127.0.0.1", 80, NULL), TG_OK);
    assert_int_equal(policy_check_host(policy, "fe80::1", 80, NULL), TG_OK);
    assert_int_equal(policy_check_host(policy, "127.0.0.1", 81, NULL), TG_PERMISSION_DENIED);
    policy_set_free(set);
}

static void networks_and_ports(void **state)
{
    (void)state;
    char *targets[] = {(char[]){"10.1.0.0/16:22"}, (char[]){"192.0.2.128/25:80-90"},
                       (char[]){"[2001:db8::/33]:443"}};
    struct policy_set *set = read_one(targets, 3, TG_OK);
    const struct policy *policy = policy_find(set, "p");
    const struct {
        const char *address;
        uint32_t port;
        enum tg_code code;
    } cases[] = {
        {"10.1.255.255", 22, TG_OK},
        {"10.2.0.0", 22, TG_PERMISSION_DENIED},
        {"10.1.0.1", 23, TG_PERMISSION_DENIED},
        {"192.0.2.128", 80, TG_OK},
        {"192.0.2.255", 90, TG_OK},
        {"192.0.2.127", 80, TG_PERMISSION_DENIED},
        {"192.0.2.200", 91, TG_PERMISSION_DENIED},
        {"192.0.2.200", 79, TG_PERMISSION_DENIED},
        {"2001:db8:7fff::1", 443, TG_OK},
        {"2001:db8:8000::1", 443, TG_PERMISSION_DENIED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(policy_check_host(policy, cases[i].address, cases[i].port, NULL), cases[i].code);
    policy_set_free(set);
}

static void names(void **state)
{
    (void)state;
    char *targets[] = {(char[]){"db.bank.example:5432-5440"}, (char[]){"10.1.0.0/16:22"}};
    struct policy_set *set = read_one(targets, 2, TG_OK);
    const struct policy *policy = policy_find(set, "p");
    assert_int_equal(policy_check_host(policy, "DB.bank.Example.", 5433, NULL), TG_OK);
    assert_int_equal(policy_check_host(policy, "db.bank.example", 5441, NULL), TG_PERMISSION_DENIED);
    assert_int_equal(policy_check_host(policy, "xdb.bank.example", 5433, NULL), TG_PERMISSION_DENIED);
    assert_int_equal(policy_check_host(policy, "other.example", 22, NULL),
                     TG_OK); /* may lead to 10.1.0.0/16 */
    assert_int_equal(policy_check_host(policy, "other.example", 5432, NULL), TG_PERMISSION_DENIED);
    assert_int_equal(judge(policy, "db.bank.example", "192.0.2.1", 5432), TG_OK);
    assert_int_equal(judge(policy, "other.example", "192.0.2.1", 22), TG_PERMISSION_DENIED);
    assert_int_equal(judge(policy, "other.example", "10.1.2.3", 22), TG_OK);
    char long_name[POLICY_HOST_MAX + 2];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(policy_check_host(policy, long_name, 22, NULL), TG_INVALID_ARGUMENT);
    policy_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_that_cannot_be_read),
        cmocka_unit_test(the_same_policy_twice),
        cmocka_unit_test(guarded_addresses),
        cmocka_unit_test(networks_and_ports),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
