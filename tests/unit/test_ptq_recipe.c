/* Recipes as YAML and the formats of nodes: what is read, what is refused, and with which choices. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph_builder.h"
#include "ptq_pass.h"

static qn_error err;

static char *text_of(const char *recipe)
{
    char *text = NULL;
    qn_error_init(&err);
    qn_assert_ok(qn_recipe_text(&text, recipe, &err), &err);
    return text;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Printed, written to a file and read again, every recipe is the same text. */
static void every_recipe_survives_its_text(void **state)
{
    (void)state;
    const char *path = "recipe_test.yaml";
    size_t n = 0;
    for (; qn_recipe_name(n) != NULL; n++) {
        char *text = text_of(qn_recipe_name(n));
        write_file(path, text);
        char *again = text_of(path);
        assert_string_equal(text, again);
        assert_non_null(qn_recipe_summary(n));
        free(text);
        free(again);
    }
    remove(path);
    assert_true(n >= 5);
    assert_string_equal(qn_recipe_name(0), "best");
    assert_null(qn_recipe_summary(n));
}

static void options_reach_the_passes_that_have_them(void **state)
{
    (void)state;
    char *text = text_of("minmax:rule=kl");
    assert_non_null(strstr(text, "choose-ranges rule=kl"));
    assert_non_null(strstr(text, "choose-weights rule=kl"));
    free(text);
    text = text_of("aidge:bits=4,clip=mse,signs=1");
    assert_non_null(strstr(text, "bits=4 clip=mse signs=1 shift=0"));
    free(text);
}

static void refused(const char *recipe, qn_status status, const char *message)
{
    char *text = NULL;
    qn_error_init(&err);
    qn_assert_fails(qn_recipe_text(&text, recipe, &err), &err, status, message);
    assert_null(text);
}

static void what_is_wrong_is_named_with_the_choices(void **state)
{
    (void)state;
    refused("nest", QN_EINVAL, "there are best, minmax");
    refused("best:nothing=1", QN_EINVAL, "rule of choose-ranges");
    refused("best:rule=median", QN_EINVAL, "no range rule");
    refused("aidge:clip=least", QN_EINVAL, "none of max|mse|aa|kl");
    refused("aidge:bits=99", QN_EINVAL, "not a number from 2 to 16");
    refused("absent.yaml", QN_EIO, "");
}

static void file_refused(const char *yaml, qn_status status, const char *message)
{
    write_file("refused_test.yaml", yaml);
    refused("refused_test.yaml", status, message);
    remove("refused_test.yaml");
}

static void files_are_checked_when_they_are_read(void **state)
{
    (void)state;
    file_refused("passes:\n  - fold-batchnorm\ncolour: red\n", QN_EFORMAT, "colour");
    file_refused("weights: int8\n", QN_EFORMAT, "passes");
    file_refused("passes: [\n", QN_EFORMAT, "line");
    file_refused("passes:\n  - fold-everything\n", QN_EINVAL,
                 "unknown pass 'fold-everything'; there are settle-constants");
    file_refused("passes:\n  - fold-batchnorm strongly=yes\n", QN_EINVAL, "which has no options");
    file_refused("profile: abacus\npasses:\n  - fuse-bias\n", QN_EINVAL, "there are ort, tflite");
    file_refused("requantize: shift\nrounding: twice\npasses:\n  - fuse-bias\n", QN_EINVAL, "rounded twice");
    file_refused("accumulator: 99\npasses:\n  - fuse-bias\n", QN_EINVAL, "not a number of bits from 8 to 32");
    file_refused("sets: ['conv']\npasses:\n  - fuse-bias\n", QN_EINVAL, "GLOB:key=value");
    file_refused("sets: ['conv:weights=int77']\npasses:\n  - fuse-bias\n", QN_EINVAL, "int77");
    file_refused("", QN_EFORMAT, "is no recipe");
}

static void formats_follow_names_and_operators(void **state)
{
    (void)state;
    qn_ptq_settings settings = qn_test_ptq_settings(8);
    qn_ptq_set sets[] = {{"Conv", "weights=int4"},
                         {"head*", "weights=adaptivfloat<6,3>,activations=int6,per=tensor"},
                         {"head.last", "keep=float"},
                         {"x", "activations=uint4"}};
    settings.sets = sets;
    settings.n_sets = 4;
    const qn_node conv = {.name = "stem", .op_type = "Conv", .op = QN_OP_CONV},
                  head = {.name = "head.1", .op_type = "Conv"}, last = {.name = "head.last", .op_type = "Gemm"},
                  other = {.name = "mid", .op_type = "Gemm"};
    assert_int_equal(qn_ptq_formats_of(&settings, &conv, conv.name).weights.bits, 4);
    const qn_ptq_formats of_head = qn_ptq_formats_of(&settings, &head, head.name);
    assert_int_equal(of_head.weights.kind, QN_FORMAT_ADAPTIVFLOAT);
    assert_int_equal(of_head.activations.bits, 6);
    assert_int_equal(of_head.activations.fit, QN_FIT_AFFINE);
    assert_int_equal(of_head.per, QN_PTQ_PER_TENSOR);
    assert_false(of_head.keep_float);
    assert_true(qn_ptq_formats_of(&settings, &last, last.name).keep_float);
    assert_int_equal(qn_ptq_formats_of(&settings, &other, other.name).weights.bits, 8);
    assert_int_equal(qn_ptq_formats_of(&settings, NULL, "x").activations.bits, 4);
}

/* Signs: symmetric formats become unsigned where nothing is negative; affine ones know by themselves. */
static void signs_choose_the_codes(void **state)
{
    (void)state;
    const qn_format symmetric = {.bits = 8, .is_signed = true, .narrow = true, .fit = QN_FIT_SYMMETRIC};
    const qn_format po2 = {.bits = 8, .fit = QN_FIT_PO2}, affine = {.bits = 8, .is_signed = true, .fit = QN_FIT_AFFINE};
    qn_format f = qn_ptq_fit_sign(symmetric, true);
    assert_false(f.is_signed);
    assert_int_equal(f.fit, QN_FIT_POSITIVE);
    f = qn_ptq_fit_sign(po2, false);
    assert_true(f.is_signed);
    assert_int_equal(f.fit, QN_FIT_PO2);
    assert_true(qn_format_equal(qn_ptq_fit_sign(affine, true), affine));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipe_survives_its_text),
        cmocka_unit_test(options_reach_the_passes_that_have_them),
        cmocka_unit_test(what_is_wrong_is_named_with_the_choices),
        cmocka_unit_test(files_are_checked_when_they_are_read),
        cmocka_unit_test(formats_follow_names_and_operators),
        cmocka_unit_test(signs_choose_the_codes),
    };
    return cmocka_run_group_tests_name("ptq_recipe", tests, NULL, NULL);
}
