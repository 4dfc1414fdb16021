/* Preprocessing parameters: their JSON form and when two are the same. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quern/dataset.h"

static qn_preprocess make_preprocess(double scale, int n_mean, int n_std, qn_layout layout)
{
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    pre.scale = scale;
    pre.n_mean = n_mean;
    pre.n_std = n_std;
    pre.layout = layout;
    for (int c = 0; c < n_mean; c++) {
        pre.mean[c] = 0.4914 - 0.013 * c;
    }
    for (int c = 0; c < n_std; c++) {
        pre.std[c] = 0.247 + 0.0071 * c;
    }
    return pre;
}

static void parameters_survive_json(void **state)
{
    (void)state;
    qn_preprocess pre = make_preprocess(1.0 / 255, 3, 3, QN_LAYOUT_NHWC), back;
    pre.mean[1] = 5e-324;
    pre.mean[2] = -1.7976931348623157e308;
    char *text;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_preprocess_to_json(&pre, &text, &err), &err);
    qn_assert_ok(qn_preprocess_from_json(&back, text, &err), &err);
    free(text);
    assert_true(back.scale == pre.scale);
    assert_int_equal(back.n_mean, 3);
    assert_int_equal(back.n_std, 3);
    assert_memory_equal(back.mean, pre.mean, 3 * sizeof pre.mean[0]);
    assert_memory_equal(back.std, pre.std, 3 * sizeof pre.std[0]);
    assert_int_equal(back.layout, QN_LAYOUT_NHWC);
    assert_true(qn_preprocess_equal(&pre, &back));
    qn_assert_ok(qn_preprocess_from_json(&back, "{\"scale\": 2, \"mean\": [1]}", &err), &err);
    assert_true(back.scale == 2.0 && back.n_mean == 1 && back.mean[0] == 1.0 && back.n_std == 0);
}

static void bad_json_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fragment;
        qn_status status;
    } rows[] = {
        {"", "is not JSON", QN_EFORMAT},
        {"{", "is not JSON", QN_EFORMAT},
        {"[1]", "not a JSON object", QN_EFORMAT},
        {"{\"scale\": \"1\"}", "scale", QN_EFORMAT},
        {"{\"mean\": 1}", "mean", QN_EFORMAT},
        {"{\"std\": [1, null]}", "element 1 is not a number", QN_EFORMAT},
        {"{\"layout\": \"nwhc\"}", "neither", QN_EFORMAT},
        {"{\"layout\": 1}", "neither", QN_EFORMAT},
        {"{\"gain\": 1}", "unknown key 'gain'", QN_EFORMAT},
        {"{\"scale\": 1, \"scale\": 2}", "is not JSON", QN_EFORMAT},
        {"{\"scale\": 0}", "scale is 0", QN_EINVAL},
        {"{\"std\": [0]}", "std 0 is 0", QN_EINVAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_preprocess pre = {.struct_size = 7};
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_preprocess_from_json(&pre, rows[i].text, &err), &err, rows[i].status, rows[i].fragment);
        assert_int_equal(pre.struct_size, 7);
    }
    char many[600] = "{\"mean\": [0";
    for (int i = 0; i < 64; i++) {
        strcat(many, ",0");
    }
    strcat(many, "]}");
    qn_preprocess pre;
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_preprocess_from_json(&pre, many, &err), &err, QN_EFORMAT, "at most 64");
}

static void equality_is_of_the_function(void **state)
{
    (void)state;
    qn_preprocess a = make_preprocess(0.5, 3, 3, QN_LAYOUT_NCHW), b = a;
    assert_true(qn_preprocess_equal(&a, &b));
    b.std[2] = nextafter(b.std[2], 1.0);
    assert_false(qn_preprocess_equal(&a, &b));
    b = a;
    b.mean[0] = 0.0;
    assert_false(qn_preprocess_equal(&a, &b));
    b = a;
    b.scale = 0.25;
    assert_false(qn_preprocess_equal(&a, &b));
    b = a;
    b.layout = QN_LAYOUT_NHWC;
    assert_false(qn_preprocess_equal(&a, &b));
    b = a;
    b.n_mean = 2;
    assert_false(qn_preprocess_equal(&a, &b));

    /* one value for all channels, the same value for each, and the value that leaving it out means */
    qn_preprocess none = make_preprocess(1.0, 0, 0, QN_LAYOUT_NCHW);
    qn_preprocess one = make_preprocess(1.0, 1, 1, QN_LAYOUT_NCHW), three = make_preprocess(1.0, 3, 3, QN_LAYOUT_NCHW);
    one.mean[0] = three.mean[0] = three.mean[1] = three.mean[2] = 0.0;
    one.std[0] = three.std[0] = three.std[1] = three.std[2] = 1.0;
    assert_true(qn_preprocess_equal(&none, &one) && qn_preprocess_equal(&one, &three));
    assert_true(qn_preprocess_is_identity(&none) && qn_preprocess_is_identity(&three));
    assert_false(qn_preprocess_is_identity(&a));
    none.layout = QN_LAYOUT_NHWC;
    assert_false(qn_preprocess_is_identity(&none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_survive_json),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(equality_is_of_the_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
