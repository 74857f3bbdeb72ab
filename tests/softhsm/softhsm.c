#include "tests/softhsm/softhsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];

bool softhsm_installed(void)
{
    static const char *const tools[] = {"/usr/bin/softhsm2-util", "/usr/local/bin/softhsm2-util"};
    bool tool = access(tools[0], X_OK) == 0 || access(tools[1], X_OK) == 0;
    if (TG_SOFTHSM_MODULE[0] == '/' && access(TG_SOFTHSM_MODULE, R_OK) == 0 && tool)
        return true;
    fputs("SKIPPED: SoftHSM 2 is not installed (deploy/install-deps.sh installs it)\n", stderr);
    return false;
}

const char *softhsm_module(void)
{
    return TG_SOFTHSM_MODULE;
}

const char *softhsm_faulty_module(void)
{
    return TG_FAULTY_MODULE;
}

static void run(const char *command)
{
    int rc = system(command); /* NOLINT(cert-env33-c): nothing in it is anybody else's */
    if (rc != 0)
        fail_msg("%s: %d", command, rc);
}

void softhsm_start(void)
{
    char path[96], text[256];
    strcpy(dir, "/tmp/tg-softhsm-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(text, sizeof text, "mkdir %s/tokens", dir);
    run(text);
    snprintf(path, sizeof path, "%s/softhsm2.conf", dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f, "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", dir);
    assert_int_equal(fclose(f), 0);
    setenv("SOFTHSM2_CONF", path, 1);
    setenv("TG_TEST_SOFTHSM", TG_SOFTHSM_MODULE, 1); /* where the faulty module finds the real one */
    softhsm_fault(NULL, 0, NULL);
}

void softhsm_stop(void)
{
    char command[96];
    softhsm_fault(NULL, 0, NULL);
    snprintf(command, sizeof command, "rm -r %s", dir);
    run(command);
    unsetenv("SOFTHSM2_CONF");
}

void softhsm_add_token(const char *label)
{
    char command[256];
    snprintf(command, sizeof command,
             "softhsm2-util --init-token --free --label '%s' --so-pin 87654321 --pin " SOFTHSM_PIN
             " >/dev/null",
             label);
    run(command);
}

void softhsm_fault(const char *call, unsigned nth, const char *action)
{
    char text[96];
    static unsigned serial; /* another text each time: the module starts to count anew */
    if (call == NULL) {
        unsetenv("TG_TEST_TOKEN_FAULT");
        return;
    }
    snprintf(text, sizeof text, "%s %u %s %u", call, nth, action, serial++);
    setenv("TG_TEST_TOKEN_FAULT", text, 1);
}
