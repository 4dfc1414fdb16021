/* Graphs for tests as text: "a = Sub x m; y = Div a 2.5; r = ReduceMean y axes=-1 keepdims:1 epsilon~0.1" - operands
 * are values, numbers (constants without dimensions) or lists of int64 in brackets ([1,-1]); key=1,2 is an attribute
 * of integers, key:1 of one, key~0.1 of a float, key'text of a string. And the same inputs through the float engine
 * before and after a change. */
#ifndef QN_TESTS_GRAPH_TEXT_H
#define QN_TESTS_GRAPH_TEXT_H

#include "graph_builder.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/model.h"
#include "quern/quern.h"

static inline int text_ints(const char *text, int64_t *list)
{
    int n = 0;
    for (char *end; *text != '\0' && *text != ']'; text = *end == ',' ? end + 1 : end) {
        assert_true(n < 16);
        list[n++] = strtoll(text, &end, 10);
        assert_true(end != text);
    }
    return n;
}

/* The name of an operand, made when it is a number or a list. */
static inline const char *text_operand(qn_graph *graph, const char *word)
{
    static char name[64];
    snprintf(name, sizeof name, "c_%s", word);
    if (word[0] == '[') {
        int64_t list[16];
        const int n = text_ints(word + 1, list);
        if (qn_graph_find(graph, name) == QN_NO_VALUE) {
            qn_test_ints(graph, name, n, list);
        }
        return name;
    }
    if (isdigit((unsigned char)word[0]) || (word[0] == '-' && word[1] != '\0')) {
        const float value = strtof(word, NULL);
        if (qn_graph_find(graph, name) == QN_NO_VALUE) {
            qn_test_floats(graph, name, 0, NULL, &value);
        }
        return name;
    }
    return word;
}

static inline void text_node(qn_graph *graph, char *statement)
{
    qn_attribute attributes[8] = {{0}};
    int64_t lists[8][16];
    char inputs[300] = "", *rest = NULL;
    int n = 0;
    const char *output = strtok_r(statement, " ", &rest), *equals = strtok_r(NULL, " ", &rest);
    const char *type = strtok_r(NULL, " ", &rest);
    assert_non_null(type);
    assert_string_equal(equals, "=");
    for (char *word; (word = strtok_r(NULL, " ", &rest)) != NULL;) {
        char *mark = word[0] == '[' ? NULL : strpbrk(word, "=:~'");
        if (mark == NULL) {
            strcat(strcat(inputs, inputs[0] != '\0' ? " " : ""), text_operand(graph, word));
            continue;
        }
        const char kind = *mark;
        *mark = '\0';
        attributes[n].name = word;
        attributes[n].type = kind == '='   ? QN_ATTRIBUTE_INTS
                             : kind == ':' ? QN_ATTRIBUTE_INT
                             : kind == '~' ? QN_ATTRIBUTE_FLOAT
                                           : QN_ATTRIBUTE_STRING;
        attributes[n].n = kind == '=' ? text_ints(mark + 1, lists[n]) : 0;
        attributes[n].ints = lists[n];
        attributes[n].i = kind == ':' ? atoll(mark + 1) : 0;
        attributes[n].f = kind == '~' ? strtof(mark + 1, NULL) : 0;
        attributes[n].s = mark + 1;
        n++;
    }
    qn_test_node(graph, type, inputs, output, n, attributes);
}

static inline void text_graph(qn_graph *graph, const char *text)
{
    char copy[2000], *rest = NULL;
    assert_true(strlen(text) < sizeof copy);
    strcpy(copy, text);
    for (char *statement = strtok_r(copy, ";", &rest); statement != NULL; statement = strtok_r(NULL, ";", &rest)) {
        text_node(graph, statement);
    }
}

/* How many nodes of a type there are. */
static inline int text_count(const qn_graph *graph, const char *type)
{
    int n = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        n += strcmp(graph->nodes[i].op_type, type) == 0 ? 1 : 0;
    }
    return n;
}

/* The first output for two items of noise, n elements each; released with free. */
static inline float *text_run(const qn_model *model, float lo, float hi, int64_t *n)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program = NULL;
    qn_workspace *workspace = NULL;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    options.batch = 2;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    qn_binding binding;
    const int64_t batch = qn_program_batch(program);
    qn_assert_ok(qn_graph_bind(&binding, &model->graph, batch, &err), &err);
    const int64_t n_x = binding.values[model->graph.inputs[0]].n_elems;
    *n = binding.values[model->graph.outputs[0]].n_elems;
    float *x = malloc((size_t)n_x * sizeof *x), *y = malloc((size_t)*n * sizeof *y);
    uint64_t seed = 4711;
    for (int64_t i = 0; i < n_x; i++) {
        x[i] = qn_test_uniform(&seed, lo, hi);
    }
    const float *input = x;
    qn_assert_ok(qn_program_run(program, workspace, &input, batch, &y, &err), &err);
    free(x);
    qn_binding_free(&binding);
    qn_workspace_free(workspace);
    qn_program_free(program);
    return y;
}

static inline void text_expect_near(const float *a, const float *b, int64_t n, float apart)
{
    for (int64_t i = 0; i < n; i++) {
        if (!(fabsf(a[i] - b[i]) <= apart * (1 + fabsf(b[i])))) {
            print_error("element %d: %.9g, not %.9g\n", (int)i, (double)a[i], (double)b[i]);
            fail();
        }
    }
}

#endif
