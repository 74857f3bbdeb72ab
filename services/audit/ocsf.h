/* What kind of event each of ours is in the Open Cybersecurity Schema Framework (https://schema.ocsf.io,
 * version 1.8.0). */
#ifndef TG_AUDIT_OCSF_H
#define TG_AUDIT_OCSF_H

#define OCSF_VERSION "1.8.0"

enum ocsf_class {
    OCSF_AUTHENTICATION = 3002,
    OCSF_ENTITY_MANAGEMENT = 3004,
    OCSF_NETWORK_ACTIVITY = 4001,
    OCSF_APPLICATION_LIFECYCLE = 6002
};

enum ocsf_severity { OCSF_UNKNOWN, OCSF_INFORMATIONAL, OCSF_LOW, OCSF_MEDIUM, OCSF_HIGH, OCSF_SEVERITIES };
extern const char *const ocsf_severity_names[OCSF_SEVERITIES];

struct ocsf_kind {
    const char *event; /* its name, or how the names of a family begin, up to the full stop */
    enum ocsf_class class_uid;
    int activity_id;      /* of the class; 99: Other, and its name is ours */
    const char *activity; /* for 99; NULL otherwise */
    enum ocsf_severity severity;
};

/* Never NULL: an event that the table does not name is its family's, or else an application's. Any thread. */
const struct ocsf_kind *ocsf_kind_of(const char *event);

#endif
