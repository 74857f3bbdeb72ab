#include "services/audit/ocsf.h"

#include <string.h>

const char *const ocsf_severity_names[OCSF_SEVERITIES] = {"Unknown", "Informational", "Low", "Medium",
                                                          "High"};

enum { OTHER = 99 };

/* The first that fits; a family after its members. */
static const struct ocsf_kind kinds[] = {
    /* Authentication: 1 Logon, 2 Logoff, 6 Preauth */
    {"handshake.refused", OCSF_AUTHENTICATION, 6, NULL, OCSF_LOW},
    {"handshake.", OCSF_AUTHENTICATION, 6, NULL, OCSF_INFORMATIONAL},
    {"ticket.refused", OCSF_AUTHENTICATION, 6, NULL, OCSF_MEDIUM},
    {"ticket.", OCSF_AUTHENTICATION, 6, NULL, OCSF_INFORMATIONAL},
    {"login.refused", OCSF_AUTHENTICATION, 1, NULL, OCSF_MEDIUM},
    {"login.", OCSF_AUTHENTICATION, 1, NULL, OCSF_INFORMATIONAL},
    {"session.ended", OCSF_AUTHENTICATION, 2, NULL, OCSF_INFORMATIONAL},
    {"session.", OCSF_AUTHENTICATION, OTHER, "Session", OCSF_INFORMATIONAL},

    /* Entity Management: 1 Create, 6 Enroll, 7 Unenroll, 9 Disable, 10 Activate */
    {"keys.made", OCSF_ENTITY_MANAGEMENT, 1, NULL, OCSF_INFORMATIONAL},
    {"keys.ready", OCSF_ENTITY_MANAGEMENT, 10, NULL, OCSF_INFORMATIONAL},
    {"keys.refused", OCSF_ENTITY_MANAGEMENT, 1, NULL, OCSF_MEDIUM},
    {"key.spent", OCSF_ENTITY_MANAGEMENT, OTHER, "Spend", OCSF_INFORMATIONAL},
    {"key.refused", OCSF_ENTITY_MANAGEMENT, OTHER, "Spend", OCSF_MEDIUM},
    {"key.revoked", OCSF_ENTITY_MANAGEMENT, 9, NULL, OCSF_INFORMATIONAL},
    {"qkud.added", OCSF_ENTITY_MANAGEMENT, 6, NULL, OCSF_INFORMATIONAL},
    {"qkud.revoked", OCSF_ENTITY_MANAGEMENT, 7, NULL, OCSF_INFORMATIONAL},
    {"shield.added", OCSF_ENTITY_MANAGEMENT, 6, NULL, OCSF_INFORMATIONAL},
    {"shield.revoked", OCSF_ENTITY_MANAGEMENT, 7, NULL, OCSF_INFORMATIONAL},
    {"sae.keys_made", OCSF_ENTITY_MANAGEMENT, 1, NULL, OCSF_INFORMATIONAL},
    {"sae.keys_taken", OCSF_ENTITY_MANAGEMENT, OTHER, "Take", OCSF_INFORMATIONAL},
    {"sae.refused", OCSF_ENTITY_MANAGEMENT, OTHER, "Take", OCSF_MEDIUM},
    {"kek.rotation_started", OCSF_ENTITY_MANAGEMENT, OTHER, "Rotate", OCSF_INFORMATIONAL},
    {"kek.rotated", OCSF_ENTITY_MANAGEMENT, OTHER, "Rotate", OCSF_INFORMATIONAL},
    {"key.", OCSF_ENTITY_MANAGEMENT, OTHER, "Manage", OCSF_INFORMATIONAL},
    {"keys.", OCSF_ENTITY_MANAGEMENT, OTHER, "Manage", OCSF_INFORMATIONAL},
    {"kek.", OCSF_ENTITY_MANAGEMENT, OTHER, "Manage", OCSF_INFORMATIONAL},
    {"qkud.", OCSF_ENTITY_MANAGEMENT, OTHER, "Manage", OCSF_INFORMATIONAL},
    {"sae.", OCSF_ENTITY_MANAGEMENT, OTHER, "Manage", OCSF_INFORMATIONAL},
    {"shield.", OCSF_ENTITY_MANAGEMENT, OTHER, "Manage", OCSF_INFORMATIONAL},

    /* Network Activity: 1 Open, 2 Close, 4 Fail, 5 Refuse */
    {"stream.opened", OCSF_NETWORK_ACTIVITY, 1, NULL, OCSF_INFORMATIONAL},
    {"stream.closed", OCSF_NETWORK_ACTIVITY, 2, NULL, OCSF_INFORMATIONAL},
    {"stream.failed", OCSF_NETWORK_ACTIVITY, 4, NULL, OCSF_LOW},
    {"stream.refused", OCSF_NETWORK_ACTIVITY, 5, NULL, OCSF_MEDIUM},
    {"stream.", OCSF_NETWORK_ACTIVITY, OTHER, "Stream", OCSF_INFORMATIONAL},

    /* Application Lifecycle: 3 Start, 4 Stop */
    {"audit.started", OCSF_APPLICATION_LIFECYCLE, 3, NULL, OCSF_INFORMATIONAL},
    {"audit.stopped", OCSF_APPLICATION_LIFECYCLE, 4, NULL, OCSF_INFORMATIONAL},
    {"audit.recovered", OCSF_APPLICATION_LIFECYCLE, OTHER, "Recover", OCSF_HIGH},
    {"audit.replica_behind", OCSF_APPLICATION_LIFECYCLE, OTHER, "Fall Behind", OCSF_HIGH},
    {"audit.replica_caught_up", OCSF_APPLICATION_LIFECYCLE, OTHER, "Catch Up", OCSF_INFORMATIONAL},
    {"audit.archived", OCSF_APPLICATION_LIFECYCLE, OTHER, "Archive", OCSF_INFORMATIONAL},
    {"audit.archive_failed", OCSF_APPLICATION_LIFECYCLE, OTHER, "Archive", OCSF_HIGH},
    {"audit.witnesses_behind", OCSF_APPLICATION_LIFECYCLE, OTHER, "Fall Behind", OCSF_HIGH},
    {"audit.witnessed_again", OCSF_APPLICATION_LIFECYCLE, OTHER, "Catch Up", OCSF_INFORMATIONAL},
    {"source.low", OCSF_APPLICATION_LIFECYCLE, OTHER, "Run Low", OCSF_HIGH},
    {"source.recovered", OCSF_APPLICATION_LIFECYCLE, OTHER, "Recover", OCSF_INFORMATIONAL},
    {"source.failed", OCSF_APPLICATION_LIFECYCLE, OTHER, "Fail", OCSF_HIGH},
    {"radius.server_down", OCSF_APPLICATION_LIFECYCLE, OTHER, "Lose", OCSF_HIGH},
    {"radius.server_up", OCSF_APPLICATION_LIFECYCLE, OTHER, "Find", OCSF_INFORMATIONAL},
    {"", OCSF_APPLICATION_LIFECYCLE, OTHER, "Other", OCSF_INFORMATIONAL},
};

static int fits(const char *event, const char *row)
{
    size_t len = strlen(row);
    return len == 0 || row[len - 1] == '.' ? strncmp(event, row, len) == 0 : strcmp(event, row) == 0;
}

const struct ocsf_kind *ocsf_kind_of(const char *event)
{
    const struct ocsf_kind *kind = kinds;
    while (!fits(event, kind->event))
        kind++;
    return kind;
}
