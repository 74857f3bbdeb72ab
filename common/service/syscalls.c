#include "common/service/syscalls.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>

#include "common/sanitizers.h"

/* A deny list: libraries may need any ordinary call tomorrow, but never one of these. By name, because an
 * older libseccomp does not know them all, and no architecture has them all. */
static const char *const forbidden[] = {
    /* other programs */
    "execve",
    "execveat",
    /* other processes' memory and descriptors */
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "kcmp",
    "userfaultfd",
    /* another view of the file system, or a way around it */
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "open_by_handle_at",
    "name_to_handle_at",
    "unshare",
    "setns",
    "quotactl",
    "quotactl_fd",
    "swapon",
    "swapoff",
    /* another user */
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "setuid32",
    "setgid32",
    "setreuid32",
    "setregid32",
    "setresuid32",
    "setresgid32",
    "setfsuid32",
    "setfsgid32",
    "setgroups32",
    "capset",
    /* the kernel */
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "bpf",
    "perf_event_open",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "lookup_dcookie",
    "syslog",
    "acct",
    "iopl",
    "ioperm",
    "modify_ldt",
    "reboot",
    "sethostname",
    "setdomainname",
    "vhangup",
    "nfsservctl",
    /* the clock, on which every expiry hangs */
    "settimeofday",
    "clock_settime",
    "clock_settime64",
    "clock_adjtime",
    "clock_adjtime64",
    "adjtimex",
    "stime",
    /* the kernel's key rings */
    "add_key",
    "request_key",
    "keyctl",
#if !TG_SANITIZED /* LeakSanitizer traces its own process at exit */
    "ptrace",
#endif
};

static int add_rules(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        int number = seccomp_syscall_resolve_name(forbidden[i]);
        if (number == __NR_SCMP_ERROR)
            continue;
        int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
        if (rc != 0 && rc != -EDOM) /* EDOM: not on this architecture */
            return rc;
    }
    return 0;
}

enum tg_code syscalls_forbid(struct tg_error *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    TG_ENSURE(filter != NULL, err, TG_INTERNAL, "cannot make the system call filter: out of memory");
    int rc =
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1); /* all threads: libraries have started some */
    if (rc == 0)
        rc = add_rules(filter);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    TG_ENSURE(rc == 0, err, TG_INTERNAL, "cannot load the system call filter (seccomp): %s", strerror(-rc));
    return TG_OK;
}
