/* Globs, and what a word may have meant. */
#include "support.h"

#include <string.h>

#include "base/names.h"

static void globs_match_whole_names(void **state)
{
    (void)state;
    assert_true(qn_glob_matches("conv*", "conv1/a"));
    assert_true(qn_glob_matches("*", ""));
    assert_true(qn_glob_matches("fc[12]", "fc2"));
    assert_true(qn_glob_matches("a\\*", "a*"));
    assert_false(qn_glob_matches("a\\*", "ab"));
    assert_false(qn_glob_matches("conv?", "conv"));
    assert_false(qn_glob_matches("conv", "conv1"));
    assert_false(qn_glob_matches("*", NULL));
}

static void the_nearest_name_is_found(void **state)
{
    (void)state;
    static const char *const names[] = {"weights", "biases", "activations", "inputs"};
    assert_int_equal(qn_nearest_name("wieghts", names, 4), 0);
    assert_int_equal(qn_nearest_name("bias", names, 4), 1);
    assert_int_equal(qn_nearest_name("ACTIVATION", names, 4), 2);
    assert_int_equal(qn_nearest_name("input", names, 4), 3);
    char list[16], all[64];
    qn_list_names(list, sizeof list, names, 4);
    assert_string_equal(list, "weights, biases");
    qn_list_names(all, sizeof all, names, 4);
    assert_string_equal(all, "weights, biases, activations, inputs");
    qn_list_names(all, sizeof all, names, 0);
    assert_string_equal(all, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_match_whole_names),
        cmocka_unit_test(the_nearest_name_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
