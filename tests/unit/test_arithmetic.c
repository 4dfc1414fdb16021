/* Names of arithmetics, and the metadata that carries them. */
#include "support.h"

#include "graph/arithmetic.h"
#include "graph/model.h"
#include "quern/quern.h"

static void contradictions_in_metadata_are_refused(void **unused)
{
    (void)unused;
    static const char *const cases[][3] = {{"quern.rounding", "floor", "rounds to nearest-even"},
                                           {"quern.rounding", "twice", "rounded twice"},
                                           {"quern.requantize", "sideways", "unknown requantization"},
                                           {"quern.accumulator", "7 wrap", "accumulator"},
                                           {"quern.accumulator", "33 saturate", "accumulator"},
                                           {"quern.sums", "wobbly", "none of float, fused and fixed"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_model *model;
        qn_program *program;
        qn_program_options options;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_model_load(&model, QN_SOURCE_DIR "/tests/golden/integer/flat.onnx", &err), &err);
        qn_assert_ok(qn_model_set_metadata(model, cases[i][0], cases[i][1], &err), &err);
        qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
        qn_assert_fails(qn_program_create(&program, model, &options, &err), &err, QN_EFORMAT, cases[i][2]);
        qn_model_free(model);
    }
}

static void names_are_parsed_and_unknown_ones_refused_with_the_choices(void **unused)
{
    (void)unused;
    qn_error err;
    qn_error_init(&err);
    for (size_t i = 0; qn_profile_at(i) != NULL; i++) {
        const qn_profile *found;
        qn_graph graph = {.name = "g", .file = "g.onnx"};
        qn_arithmetic back;
        qn_assert_ok(qn_profile_find(&found, qn_profile_at(i)->name, &err), &err);
        assert_ptr_equal(found, qn_profile_at(i));
        qn_assert_ok(qn_graph_set_arithmetic(&graph, &found->arithmetic, &err), &err);
        qn_assert_ok(qn_graph_get_arithmetic(&graph, &back, &err), &err);
        assert_int_equal(back.requantize, found->arithmetic.requantize);
        assert_int_equal(back.rounding, found->arithmetic.rounding);
        assert_int_equal(back.twice, found->arithmetic.twice);
        assert_int_equal(back.fixed_sums, found->arithmetic.fixed_sums);
        assert_int_equal(back.saturate, found->arithmetic.saturate);
        assert_int_equal(back.accumulator_bits, found->arithmetic.accumulator_bits);
        qn_graph_free(&graph);
    }
    const qn_profile *profile;
    qn_requantization requantize;
    qn_rounding rounding;
    qn_assert_fails(qn_profile_find(&profile, "tf", &err), &err, QN_EINVAL,
                    "ort, tflite, tflite-single, cmsis-nn, aidge, n2d2");
    qn_error_init(&err);
    qn_assert_fails(qn_requantize_parse(&requantize, "shifts", &err), &err, QN_EINVAL, "shift and double-shift");
    qn_error_init(&err);
    qn_assert_fails(qn_requantize_rounding_parse(&rounding, "toward-zero", &err), &err, QN_EINVAL, "nearest-up");
    for (int r = 0; r < 4; r++) {
        qn_assert_ok(qn_requantize_parse(&requantize, qn_requantize_text((qn_requantization)r), &err), &err);
        assert_int_equal(requantize, r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contradictions_in_metadata_are_refused),
        cmocka_unit_test(names_are_parsed_and_unknown_ones_refused_with_the_choices),
    };
    return cmocka_run_group_tests_name("arithmetic", tests, NULL, NULL);
}
