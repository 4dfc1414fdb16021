#include "graph/node_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

qn_status qn_node_list_add(qn_node_list *list, const qn_node *node, const char *reason, qn_error *err)
{
    void *grown = list->nodes;
    qn_status status = qn_grow(&grown, &list->nodes_capacity, list->n, sizeof *list->nodes, err);
    list->nodes = grown;
    QN_TRY(status);
    grown = list->reasons;
    status = qn_grow(&grown, &list->reasons_capacity, list->n, sizeof *list->reasons, err);
    list->reasons = grown;
    QN_TRY(status);
    list->nodes[list->n] = node;
    list->reasons[list->n++] = reason != NULL ? reason : "";
    return QN_OK;
}

void qn_node_list_free(qn_node_list *list)
{
    qn_free(list->nodes);
    qn_free(list->reasons);
    *list = (qn_node_list){0};
}

typedef struct entry {
    const qn_node *node;
    const char *reason;
    size_t position; /* in the list */
    size_t family;   /* position of the first node with its reason */
    size_t group;    /* position of the first with its reason and operator */
} entry;

static int compare_kind(const entry *a, const entry *b)
{
    int order = strcmp(a->reason, b->reason);
    if (order == 0) {
        order = strcmp(a->node->op_type, b->node->op_type);
    }
    return order != 0 ? order : strcmp(a->node->domain, b->node->domain);
}

static int compare_numbers(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

static int by_kind(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    int order = compare_kind(a, b);
    return order != 0 ? order : compare_numbers(a->position, b->position);
}

static int by_group(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    int order = compare_numbers(a->family, b->family);
    order = order != 0 ? order : compare_numbers(a->group, b->group);
    return order != 0 ? order : compare_numbers(a->position, b->position);
}

/* Entries sorted by kind; within a reason, the least position of its groups. */
static void find_families(entry *entries, size_t n)
{
    for (size_t first = 0, end; first < n; first = end) {
        size_t least = entries[first].position;
        for (end = first; end < n && strcmp(entries[end].reason, entries[first].reason) == 0; end++) {
            least = entries[end].position < least ? entries[end].position : least;
        }
        for (size_t i = first; i < end; i++) {
            entries[i].family = least;
        }
    }
}

/* Sorted, not searched: a file may have 100000 nodes of as many types. */
static entry *group_entries(const qn_node_list *list)
{
    entry *entries = qn_alloc(list->n * sizeof *entries);
    if (entries == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < list->n; i++) {
        entries[i] = (entry){list->nodes[i], list->reasons[i], i, i, i};
    }
    qsort(entries, list->n, sizeof *entries, by_kind);
    for (size_t i = 1; i < list->n; i++) {
        if (compare_kind(&entries[i - 1], &entries[i]) == 0) {
            entries[i].group = entries[i - 1].group;
        }
    }
    find_families(entries, list->n);
    qsort(entries, list->n, sizeof *entries, by_group);
    return entries;
}

static const char *label(const qn_graph *graph, const qn_node *node)
{
    for (int i = 0; node->name[0] == '\0' && i < node->n_outputs; i++) {
        if (node->outputs[i] != QN_NO_VALUE) {
            return graph->values[node->outputs[i]].name;
        }
    }
    return node->name;
}

static size_t write_group(FILE *out, const qn_graph *graph, const entry *entries, size_t n)
{
    const qn_node *first = entries[0].node;
    size_t count = 1;
    while (count < n && entries[count].group == entries[0].group) {
        count++;
    }
    fprintf(out, "%s%s%s (%zu node%s:", first->domain, first->domain[0] != '\0' ? "." : "", first->op_type, count,
            count == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%s '%s'", i == 0 ? "" : ",", label(graph, entries[i].node));
    }
    fputc(')', out);
    return count;
}

char *qn_node_list_text(const qn_node_list *list, const qn_graph *graph)
{
    entry *entries = group_entries(list);
    if (entries == NULL) {
        return NULL;
    }
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        for (size_t i = 0; i < list->n;) {
            size_t next = i + write_group(out, graph, entries + i, list->n - i);
            bool more = next < list->n && entries[next].family == entries[i].family;
            if (!more && entries[i].reason[0] != '\0') {
                fprintf(out, ": %s", entries[i].reason);
            }
            fputs(next == list->n ? "" : more ? ", " : "; ", out);
            i = next;
        }
        if (fclose(out) != 0) {
            free(text);
            text = NULL;
        }
    }
    qn_free(entries);
    return text;
}

qn_status qn_node_list_fail(qn_node_list *list, const qn_graph *graph, qn_status status, const char *lead,
                            qn_error *err)
{
    if (list->n == 0) {
        qn_node_list_free(list);
        return QN_OK;
    }
    char *text = qn_node_list_text(list, graph);
    status =
        text != NULL ? qn_fail(err, status, graph->file, "%s: %s", lead, text) : qn_fail_memory(err, lead, list->n);
    free(text);
    qn_node_list_free(list);
    return status;
}
