/* Device files: types of devices (doc/links.md). */
#include <math.h>
#include <string.h>

#include "link/document.h"
#include "quern/partition.h"

typedef struct draft {
    qn_devices *devices;
    qn_arena *arena;
} draft;

QN_KEY_READER(read_type, qn_device_type, qn_entry_text(&t->name, value, err))
QN_KEY_READER(read_count, qn_device_type, qn_entry_integer(&t->count, value, 0, QN_DEVICES_MAX_COUNT, err))
QN_KEY_READER(read_memory, qn_device_type, qn_entry_memory(&t->memory, value, err))
QN_KEY_READER(read_macs, qn_device_type, qn_entry_real(&t->macs_per_second, value, false, err))
QN_KEY_READER(read_profile, qn_device_type, qn_entry_text(&t->profile, value, err))
QN_KEY_READER(read_speed, qn_device_type, qn_entry_real(&t->speed, value, false, err))

/* Bytes per second are written as bandwidths are. */
static qn_status read_codec(void *target, qn_entry *value, qn_error *err)
{
    qn_device_type *type = target;
    QN_TRY(qn_entry_bandwidth(&type->codec, value, err));
    type->codec /= 8;
    return QN_OK;
}

static const qn_key type_keys[] = {
    {"type", read_type, true},        {"count", read_count, false},
    {"memory", read_memory, false},   {"macs_per_second", read_macs, false},
    {"profile", read_profile, false}, {"speed", read_speed, false},
    {"codec", read_codec, false},
};

static qn_status read_devices(void *target, qn_entry *value, qn_error *err)
{
    draft *d = target;
    qn_devices *devices = d->devices;
    QN_TRY(qn_entry_list(&devices->n_types, value, "types of devices", QN_DEVICES_MAX_TYPES, err));
    devices->types = qn_arena_array(d->arena, devices->n_types, sizeof *devices->types);
    if (devices->types == NULL) {
        return qn_fail_memory(err, value->document->where, devices->n_types * sizeof *devices->types);
    }
    for (size_t i = 0; i < devices->n_types; i++) {
        qn_entry item;
        qn_device_type *type = &devices->types[i];
        *type = (qn_device_type){.count = 1, .macs_per_second = (double)NAN, .speed = 1, .codec = (double)NAN};
        QN_TRY(qn_entry_item(&item, value, i, err));
        QN_TRY(
            qn_entry_mapping(type, &item, "a type of device", type_keys, sizeof type_keys / sizeof type_keys[0], err));
        if (!isnan(type->macs_per_second) && (type->profile != NULL || type->speed != 1)) {
            return qn_entry_fail(err, &item, "'%s' has both macs_per_second and %s; one of them says how fast it is",
                                 type->name,
                                 type->profile != NULL ? "a profile" : "a speed, which is relative to a profile");
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(devices->types[k].name, type->name) == 0) {
                return qn_entry_fail(err, &item, "type '%s' stands there twice; 'count' says how many there are",
                                     type->name);
            }
        }
    }
    return QN_OK;
}

QN_KEY_READER(read_data, draft, qn_entry_text(&t->devices->data, value, err))
QN_KEY_READER(read_results, draft, qn_entry_text(&t->devices->results, value, err))
static const qn_key keys[] = {
    {"version", qn_read_version, true},
    {"devices", read_devices, true},
    {"data", read_data, false},
    {"results", read_results, false},
};

static qn_status check(const qn_devices *devices, const qn_entry *root, qn_error *err)
{
    int64_t n = 0;
    for (size_t i = 0; i < devices->n_types; i++) {
        n += devices->types[i].count;
    }
    return n > 0 ? QN_OK : qn_entry_fail(err, root, "no device at all: every type's count is 0");
}

qn_status qn_devices_read(qn_devices *devices, const char *path, qn_error *err)
{
    qn_document document;
    *devices = (qn_devices){.memory = qn_alloc(sizeof(qn_arena))};
    if (devices->memory == NULL) {
        return qn_fail_memory(err, path, sizeof(qn_arena));
    }
    draft d = {devices, devices->memory};
    qn_status status = qn_document_open(&document, d.arena, path, err);
    if (status == QN_OK) {
        qn_entry root;
        status = qn_document_root(&root, &document, err);
        status = status == QN_OK
                     ? qn_entry_mapping(&d, &root, "a file of devices", keys, sizeof keys / sizeof keys[0], err)
                     : status;
        status = status == QN_OK ? check(devices, &root, err) : status;
        qn_document_close(&document);
    }
    if (status != QN_OK) {
        qn_devices_free(devices);
    }
    return status;
}

void qn_devices_free(qn_devices *devices)
{
    if (devices->memory != NULL) {
        qn_arena_free(devices->memory);
        qn_free(devices->memory);
    }
    *devices = (qn_devices){0};
}
