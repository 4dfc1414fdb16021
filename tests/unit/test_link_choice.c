/* Choices of links as text. */
#include "support.h"

#include <math.h>

#include "quern/plan.h"

typedef struct {
    const char *text, *format;
    qn_link_per per;
    int64_t group;
    qn_link_clamp clamp;
    const char *shortest;
} choice_row;

static void choices_are_read(void **state)
{
    (void)state;
    static const choice_row rows[] = {
        {"codes", "codes", QN_LINK_PER_TENSOR, 0, QN_LINK_CLAMP_NONE, "codes"},
        {"fp32", "fp32", QN_LINK_PER_TENSOR, 0, QN_LINK_CLAMP_NONE, "fp32"},
        {"int8", "int8", QN_LINK_PER_ITEM, 0, QN_LINK_CLAMP_NONE, "int8"},
        {"int<8>/item", "int8", QN_LINK_PER_ITEM, 0, QN_LINK_CLAMP_NONE, "int8"},
        {"int8/tensor", "int8", QN_LINK_PER_TENSOR, 0, QN_LINK_CLAMP_NONE, "int8/tensor"},
        {"int4/laplace/channel", "int4", QN_LINK_PER_CHANNEL, 0, QN_LINK_CLAMP_LAPLACE, "int4/channel/laplace"},
        {"adaptivfloat<6,4>/token", "adaptivfloat<6,4>", QN_LINK_PER_TOKEN, 0, QN_LINK_CLAMP_NONE,
         "adaptivfloat<6,4>/token"},
        {"int4/mse", "int4", QN_LINK_PER_ITEM, 0, QN_LINK_CLAMP_MSE, "int4/mse"},
        {"int4/none/group:16", "int4", QN_LINK_PER_GROUP, 16, QN_LINK_CLAMP_NONE, "int4/group:16"},
        {"bfp<5,16>", "bfp<5,16>", QN_LINK_PER_BLOCK, 0, QN_LINK_CLAMP_NONE, "bfp<5,16>"},
        {"bfp<5,16>/group:16", "bfp<5,16>", QN_LINK_PER_GROUP, 16, QN_LINK_CLAMP_NONE, "bfp<5,16>/group:16"},
    };
    qn_error err;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char format[QN_FORMAT_NAME_MAX], text[QN_LINK_CHOICE_MAX];
        qn_link_choice choice;
        qn_error_init(&err);
        qn_assert_ok(qn_link_choice_parse(&choice, format, rows[i].text, NULL, &err), &err);
        assert_ptr_equal(choice.format, format);
        assert_string_equal(format, rows[i].format);
        assert_int_equal(choice.per, rows[i].per);
        assert_int_equal(choice.group, rows[i].group);
        assert_int_equal(choice.clamp, rows[i].clamp);
        assert_true(isnan(choice.loss) && isnan(choice.sqnr_db));
        qn_link_choice_text(text, &choice);
        assert_string_equal(text, rows[i].shortest);
    }
}

static void lists_part_at_commas_outside_brackets(void **state)
{
    (void)state;
    static const char *const expected[] = {"int8", "adaptivfloat<8,4>/token", "codes"};
    const char *next = "int8,adaptivfloat<8,4>/token,codes";
    size_t n = 0;
    qn_error err;
    qn_error_init(&err);
    while (next != NULL) {
        char format[QN_FORMAT_NAME_MAX], text[QN_LINK_CHOICE_MAX];
        qn_link_choice choice;
        qn_assert_ok(qn_link_choice_parse(&choice, format, next, &next, &err), &err);
        qn_link_choice_text(text, &choice);
        assert_true(n < 3);
        assert_string_equal(text, expected[n++]);
    }
    assert_int_equal(n, 3);
}

static void choices_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "nothing is there"},
        {"int9999", "int9999"},
        {"innt8", "innt8"},
        {"int8/", "neither a granularity"},
        {"int8/row", "'row' is neither a granularity"},
        {"int8/group:0", "neither a granularity"},
        {"int8/item/token", "two granularities"},
        {"int8/mse/laplace", "two clamps"},
        {"int8/block", "has no blocks"},
        {"bfp<5,16>/item", "write block or group:16"},
        {"bfp<5,16>/group:8", "write block or group:16"},
        {"codes/item", "write codes alone"},
        {"fp32/laplace", "write fp32 alone"},
        {"int8,int4", "something behind it"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char format[QN_FORMAT_NAME_MAX];
        qn_link_choice choice;
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_link_choice_parse(&choice, format, rows[i][0], NULL, &err), &err, QN_EINVAL, rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_are_read),
        cmocka_unit_test(lists_part_at_commas_outside_brackets),
        cmocka_unit_test(choices_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
