/* What is to go wrong, as an environment variable says: "CALL N ACTION", the Nth CALL ("any": of any) and
 * what to do then. Another text starts to count anew. For what is preloaded or loaded into the program under
 * test. */
#ifndef TG_TESTS_FAULTY_FAULT_H
#define TG_TESTS_FAULTY_FAULT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fault {
    char text[96]; /* as it stands in the environment */
    char call[32], action[32];
    unsigned nth, seen;
};

/* True: the text is another than before. */
static inline bool fault_read(struct fault *fault, const char *variable)
{
    const char *text = getenv(variable);
    if (text == NULL)
        text = "";
    if (strcmp(text, fault->text) == 0)
        return false;
    memset(fault, 0, sizeof *fault);
    snprintf(fault->text, sizeof fault->text, "%s", text);
    if (sscanf(text, "%31s %u %31s", fault->call, &fault->nth, fault->action) != 3)
        fault->call[0] = '\0';
    return true;
}

/* Counts the call; true: this is the one. */
static inline bool fault_is_due(struct fault *fault, const char *call)
{
    return (strcmp(fault->call, "any") == 0 || strcmp(fault->call, call) == 0) && ++fault->seen == fault->nth;
}

#endif
