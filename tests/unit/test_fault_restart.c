/* Restarting: patched constants and remade values against the changed network run from scratch. */
#include "fault_float.h"

#include <math.h>
#include <string.h>

#include "engine/float/restart.h"

enum { MAX_OUT = 64, N_ITEMS = 4 };

static void run_scratch(const qn_model *model, qn_engine engine, int64_t batch, const float *x, float *y)
{
    qn_error err;
    qn_error_init(&err);
    qn_program *program = make_program(model, engine, batch);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    qn_assert_ok(qn_program_run(program, workspace, &x, batch, &y, &err), &err);
    qn_workspace_free(workspace);
    qn_program_free(program);
}

static void assert_bytes(const float *got, const float *wanted, int64_t n, const char *what, int64_t element)
{
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(got + i, wanted + i, sizeof *got) != 0) {
            fail_msg("%s, element %lld: output %lld is %.9g, wanted %.9g", what, (long long)element, (long long)i,
                     (double)got[i], (double)wanted[i]);
        }
    }
}

/* Every constant of the model, some elements of each, patched in place, against the model that has the element. */
static void patched_constants_are_the_changed_model(void **state)
{
    (void)state;
    static const char *const constants[] = {"w1", "b1", "gamma", "beta", "mean", "variance", "w2", "w3", "b3"};
    uint64_t random = 5;
    qn_error err;
    qn_error_init(&err);
    for (int64_t batch = 1; batch <= N_ITEMS; batch += 3) {
        qn_model model = {0};
        residual_graph(&model.graph);
        float x[N_ITEMS * 243], golden[MAX_OUT], wanted[MAX_OUT];
        for (int i = 0; i < N_ITEMS * 243; i++) {
            x[i] = qn_test_uniform(&random, -1, 1);
        }
        qn_program *program = make_program(&model, QN_ENGINE_FLOAT, batch);
        qn_restart *restart;
        const float *inputs = x;
        qn_assert_ok(qn_restart_create(&restart, program, &err), &err);
        qn_assert_ok(qn_restart_load(restart, &inputs, batch, &err), &err);
        run_scratch(&model, QN_ENGINE_FLOAT, batch, x, golden);
        assert_bytes(qn_restart_golden(restart, 0, 0), golden, batch * 7, "golden", 0);
        for (size_t c = 0; c < sizeof constants / sizeof constants[0]; c++) {
            const qn_value_id value = qn_graph_find(&model.graph, constants[c]);
            float *data = model.graph.values[value].constant->data;
            const int64_t n = qn_tensor_count(model.graph.values[value].constant);
            assert_true(qn_restart_can_patch(restart, value));
            for (int k = 0; k < 12; k++) {
                const int64_t element = (int64_t)(qn_test_random(&random) % (uint64_t)n);
                const float was = data[element], now = k == 0 ? NAN : k == 1 ? INFINITY : was * -3 + 1;
                data[element] = now;
                run_scratch(&model, QN_ENGINE_FLOAT, batch, x, wanted);
                data[element] = was;
                qn_restart_begin(restart);
                qn_assert_ok(qn_restart_patch(restart, value, element, now, &err), &err);
                qn_assert_ok(qn_restart_run(restart, qn_restart_n_steps(restart), &err), &err);
                assert_bytes(qn_restart_output(restart, 0, 0), wanted, batch * 7, constants[c], element);
                qn_restart_undo(restart);
            }
        }
        qn_restart_begin(restart);
        for (size_t i = 0; i < model.graph.n_nodes; i++) { /* everything anew: nothing stayed behind */
            qn_restart_remake(restart, model.graph.nodes[i].outputs[0]);
        }
        qn_assert_ok(qn_restart_run(restart, qn_restart_n_steps(restart), &err), &err);
        assert_bytes(qn_restart_output(restart, 0, 0), golden, batch * 7, "golden afterwards", 0);
        qn_restart_undo(restart);
        qn_restart_free(restart);
        qn_program_free(program);
        qn_graph_free(&model.graph);
    }
}

/* Layouts as oneDNN has them: each element is where a reorder of labels puts its own. */
static void offsets_are_where_reorders_put_elements(void **state)
{
    (void)state;
    static const dnnl_format_tag_t tags[] = {dnnl_OIhw8i8o, dnnl_OIhw16i16o, dnnl_Ohwi8o,  dnnl_Ohwi16o,    dnnl_oihw,
                                             dnnl_ohwi,     dnnl_hwio,       dnnl_Oihw16o, dnnl_OIhw4i16o4i};
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    assert_int_equal(dnnl_engine_create(&engine, dnnl_cpu, 0), dnnl_success);
    assert_int_equal(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), dnnl_success);
    const dnnl_dims_t dims = {19, 9, 3, 2};
    enum { N = 19 * 9 * 3 * 2, MAX = 64 * 64 * 8 };
    static float labels[N], found[MAX];
    for (int i = 0; i < N; i++) {
        labels[i] = (float)(i + 1);
    }
    const dnnl_memory_desc_t from = qn_float_md_plain(4, dims);
    for (size_t t = 0; t < sizeof tags / sizeof tags[0]; t++) {
        dnnl_memory_desc_t to;
        dnnl_primitive_desc_t pd;
        dnnl_primitive_t primitive;
        dnnl_memory_t from_memory, to_memory;
        assert_int_equal(dnnl_memory_desc_init_by_tag(&to, 4, dims, dnnl_f32, tags[t]), dnnl_success);
        assert_true(dnnl_memory_desc_get_size(&to) <= sizeof found);
        assert_int_equal(dnnl_reorder_primitive_desc_create(&pd, &from, engine, &to, engine, NULL), dnnl_success);
        assert_int_equal(dnnl_primitive_create(&primitive, pd), dnnl_success);
        assert_int_equal(dnnl_memory_create(&from_memory, &from, engine, labels), dnnl_success);
        assert_int_equal(dnnl_memory_create(&to_memory, &to, engine, found), dnnl_success);
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from_memory}, {DNNL_ARG_TO, to_memory}};
        assert_int_equal(dnnl_primitive_execute(primitive, stream, 2, args), dnnl_success);
        assert_int_equal(dnnl_stream_wait(stream), dnnl_success);
        for (int64_t i = 0; i < N; i++) {
            const int64_t offset = qn_restart_offset(&from, &to, i);
            assert_in_range(offset, 0, MAX - 1);
            assert_true(found[offset] == labels[i]);
        }
        (void)dnnl_memory_destroy(to_memory);
        (void)dnnl_memory_destroy(from_memory);
        (void)dnnl_primitive_destroy(primitive);
        (void)dnnl_primitive_desc_destroy(pd);
    }
    (void)dnnl_stream_destroy(stream);
    (void)dnnl_engine_destroy(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_where_reorders_put_elements),
        cmocka_unit_test(patched_constants_are_the_changed_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
