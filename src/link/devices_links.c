/* Link files: how devices are joined (doc/links.md). */
#include <math.h>
#include <string.h>

#include "link/document.h"
#include "quern/partition.h"

typedef struct draft {
    qn_device_links *links;
    qn_device_link *whole; /* the default; NULL: none */
    qn_arena *arena;
} draft;

static qn_status read_between(void *target, qn_entry *value, qn_error *err)
{
    qn_device_link *link = target;
    size_t n;
    QN_TRY(qn_entry_list(&n, value, "two types", 2, err));
    if (n != 2) {
        return qn_entry_fail(err, value, "has one type; a link is between two, which may be the same");
    }
    if (link->from != NULL || link->to != NULL) {
        return qn_entry_fail(err, value, "a link has either 'between' or 'from' and 'to'");
    }
    qn_entry item;
    QN_TRY(qn_entry_item(&item, value, 0, err));
    QN_TRY(qn_entry_text(&link->from, &item, err));
    QN_TRY(qn_entry_item(&item, value, 1, err));
    link->both = true;
    return qn_entry_text(&link->to, &item, err);
}

static qn_status read_end(const char **end, const qn_device_link *link, qn_entry *value, qn_error *err)
{
    return link->both ? qn_entry_fail(err, value, "a link has either 'between' or 'from' and 'to'")
                      : qn_entry_text(end, value, err);
}

QN_KEY_READER(read_from, qn_device_link, read_end(&t->from, t, value, err))
QN_KEY_READER(read_to, qn_device_link, read_end(&t->to, t, value, err))
QN_KEY_READER(read_bandwidth, qn_device_link, qn_entry_bandwidth(&t->bandwidth, value, err))
QN_KEY_READER(read_latency, qn_device_link, qn_entry_latency(&t->latency, value, err))
QN_KEY_READER(read_medium, qn_device_link, qn_entry_text(&t->medium, value, err))
static const qn_key link_keys[] = {
    {"bandwidth", read_bandwidth, true}, {"latency", read_latency, false}, {"medium", read_medium, false},
    {"between", read_between, false},    {"from", read_from, false},       {"to", read_to, false},
};
enum { N_LINK_KEYS = sizeof link_keys / sizeof link_keys[0], N_DEFAULT_KEYS = 3 };

/* Do two lines speak of the same direction? */
static bool same_way(const qn_device_link *a, const qn_device_link *b)
{
    const bool along = strcmp(a->from, b->from) == 0 && strcmp(a->to, b->to) == 0;
    const bool against = strcmp(a->from, b->to) == 0 && strcmp(a->to, b->from) == 0;
    return along || (against && (a->both || b->both));
}

static qn_status read_links(void *target, qn_entry *value, qn_error *err)
{
    enum { MAX = 4096 };
    draft *d = target;
    size_t n;
    QN_TRY(qn_entry_list(&n, value, "links", MAX, err));
    d->links->links = qn_arena_array(d->arena, n + 1, sizeof *d->links->links); /* and the default */
    if (d->links->links == NULL) {
        return qn_fail_memory(err, value->document->where, n * sizeof *d->links->links);
    }
    for (size_t i = 0; i < n; i++) {
        qn_entry item;
        qn_device_link *link = &d->links->links[i];
        QN_TRY(qn_entry_item(&item, value, i, err));
        QN_TRY(qn_entry_mapping(link, &item, "a link", link_keys, N_LINK_KEYS, err));
        if (link->from == NULL || link->to == NULL) {
            return qn_entry_fail(err, &item,
                                 "a link that joins nothing: write 'between: [A, B]', or 'from: A' and "
                                 "'to: B' for one direction");
        }
        for (size_t k = 0; k < i; k++) {
            if (same_way(&d->links->links[k], link)) {
                return qn_entry_fail(err, &item, "the link from '%s' to '%s' stands there twice", link->from, link->to);
            }
        }
        d->links->n_links++;
    }
    return QN_OK;
}

static qn_status read_default(void *target, qn_entry *value, qn_error *err)
{
    draft *d = target;
    d->whole = qn_arena_alloc(d->arena, sizeof *d->whole);
    if (d->whole == NULL) {
        return qn_fail_memory(err, value->document->where, sizeof *d->whole);
    }
    d->whole->both = true;
    return qn_entry_mapping(d->whole, value, "the default of links", link_keys, N_DEFAULT_KEYS, err);
}

static const qn_key keys[] = {
    {"version", qn_read_version, true},
    {"default", read_default, false},
    {"links", read_links, false},
};

static qn_status settle(draft *d, const qn_entry *root, qn_error *err)
{
    qn_device_links *links = d->links;
    if (d->whole == NULL) {
        return links->n_links > 0 ? QN_OK
                                  : qn_entry_fail(err, root,
                                                  "joins nothing: write 'default: {bandwidth: 100Mbit}', or "
                                                  "'links:' with a list");
    }
    if (links->links == NULL) {
        links->links = d->whole;
    } else {
        links->links[links->n_links] = *d->whole;
    }
    links->n_links++;
    return QN_OK;
}

qn_status qn_device_links_read(qn_device_links *links, const char *path, qn_error *err)
{
    qn_document document;
    *links = (qn_device_links){.memory = qn_alloc(sizeof(qn_arena))};
    if (links->memory == NULL) {
        return qn_fail_memory(err, path, sizeof(qn_arena));
    }
    draft d = {.links = links, .arena = links->memory};
    qn_status status = qn_document_open(&document, d.arena, path, err);
    if (status == QN_OK) {
        qn_entry root;
        status = qn_document_root(&root, &document, err);
        status = status == QN_OK
                     ? qn_entry_mapping(&d, &root, "a file of links", keys, sizeof keys / sizeof keys[0], err)
                     : status;
        status = status == QN_OK ? settle(&d, &root, err) : status;
        qn_document_close(&document);
    }
    if (status != QN_OK) {
        qn_device_links_free(links);
    }
    return status;
}

void qn_device_links_free(qn_device_links *links)
{
    if (links->memory != NULL) {
        qn_arena_free(links->memory);
        qn_free(links->memory);
    }
    *links = (qn_device_links){0};
}

const qn_device_link *qn_device_links_find(const qn_device_links *links, const char *from, const char *to)
{
    for (size_t i = 0; i < links->n_links; i++) {
        const qn_device_link *link = &links->links[i];
        if (link->from == NULL || (strcmp(link->from, from) == 0 && strcmp(link->to, to) == 0) ||
            (link->both && strcmp(link->from, to) == 0 && strcmp(link->to, from) == 0)) {
            return link; /* the default stands last */
        }
    }
    return NULL;
}
