/* A PKCS#11 module for tests: SoftHSM's, in which one call goes wrong (softhsm.h says how). */
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

#include "tests/faulty/fault.h"

static CK_FUNCTION_LIST_PTR real;
static CK_FUNCTION_LIST list;

static struct fault fault;
static bool pulled;

/* What to answer instead of the call; CKR_OK: go on. *after: die when it is done. */
static CK_RV before(const char *call, bool *after)
{
    if (fault_read(&fault, "TG_TEST_TOKEN_FAULT"))
        pulled = false;
    *after = false;
    if (pulled)
        return CKR_DEVICE_REMOVED;
    if (!fault_is_due(&fault, call))
        return CKR_OK;
    if (strcmp(fault.action, "kill") == 0)
        raise(SIGKILL);
    *after = strcmp(fault.action, "killed") == 0;
    pulled = strcmp(fault.action, "pulled") == 0;
    if (pulled)
        return CKR_DEVICE_REMOVED;
    return *after ? CKR_OK : strtoul(fault.action, NULL, 0);
}

static CK_RV after_call(CK_RV rv, bool die)
{
    if (die)
        raise(SIGKILL);
    return rv;
}

#define HOOK(call, parameters, arguments)                                                                    \
    static CK_RV hook_##call parameters                                                                      \
    {                                                                                                        \
        bool die;                                                                                            \
        CK_RV rv = before(#call, &die);                                                                      \
        return rv != CKR_OK ? rv : after_call(real->call arguments, die);                                    \
    }

HOOK(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO_PTR info), (slot, info))
HOOK(C_OpenSession,
     (CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR app, CK_NOTIFY notify, CK_SESSION_HANDLE_PTR session),
     (slot, flags, app, notify, session))
HOOK(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info), (session, info))
HOOK(C_Login, (CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG len),
     (session, user, pin, len))
HOOK(C_FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count),
     (session, template, count))
HOOK(C_FindObjects,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG max, CK_ULONG_PTR count),
     (session, objects, max, count))
HOOK(C_GetAttributeValue,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template, CK_ULONG count),
     (session, object, template, count))
HOOK(C_CreateObject,
     (CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR object),
     (session, template, count, object))
HOOK(C_DestroyObject, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object), (session, object))
HOOK(C_SignInit, (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key),
     (session, mechanism, key))
HOOK(C_Sign,
     (CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR signature, CK_ULONG_PTR sig_len),
     (session, data, len, signature, sig_len))

/* The flags by which a token says how many tries are left. */
static CK_RV hook_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
    const char *flags = getenv("TG_TEST_TOKEN_FLAGS");
    bool die;
    CK_RV rv = before("C_GetTokenInfo", &die);
    if (rv != CKR_OK)
        return rv;
    rv = real->C_GetTokenInfo(slot, info);
    if (rv == CKR_OK && flags != NULL)
        info->flags |= strtoul(flags, NULL, 0);
    return after_call(rv, die);
}

static CK_RV hook_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info)
{
    bool die;
    CK_RV rv = before("C_GetMechanismInfo", &die);
    return rv != CKR_OK ? rv : after_call(real->C_GetMechanismInfo(slot, type, info), die);
}

static CK_RV load(void)
{
    CK_RV (*get)(CK_FUNCTION_LIST_PTR_PTR list) = NULL;
    const char *path = getenv("TG_TEST_SOFTHSM");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library == NULL)
        return CKR_GENERAL_ERROR;
    *(void **)&get = dlsym(library, "C_GetFunctionList"); /* as POSIX has it */
    return get != NULL ? get(&real) : CKR_GENERAL_ERROR;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out)
{
    CK_RV rv = real != NULL ? CKR_OK : load();
    if (rv != CKR_OK)
        return rv;
    list = *real;
    list.C_GetSlotInfo = hook_C_GetSlotInfo;
    list.C_GetTokenInfo = hook_C_GetTokenInfo;
    list.C_GetMechanismInfo = hook_C_GetMechanismInfo;
    list.C_OpenSession = hook_C_OpenSession;
    list.C_GetSessionInfo = hook_C_GetSessionInfo;
    list.C_Login = hook_C_Login;
    list.C_FindObjectsInit = hook_C_FindObjectsInit;
    list.C_FindObjects = hook_C_FindObjects;
    list.C_GetAttributeValue = hook_C_GetAttributeValue;
    list.C_CreateObject = hook_C_CreateObject;
    list.C_DestroyObject = hook_C_DestroyObject;
    list.C_SignInit = hook_C_SignInit;
    list.C_Sign = hook_C_Sign;
    list.C_GetFunctionList = C_GetFunctionList;
    *out = &list;
    return CKR_OK;
}
