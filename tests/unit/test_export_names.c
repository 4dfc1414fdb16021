/* Names that users write, of anything that bytes can be: every target's text holds them as words, never as code. */
#include "export_dir.h"

/* Ends of comments and of lines, lines that go on, also by a trigraph; what is no UTF-8; directives; what differs in case
 * or punctuation alone. No blanks: the builder parts names by them. */
static const char *const names[] = {
    "x?\?/",   "x\\",  "*/#error/*", "\n#error\n", "caf\xe9",      "`include\"x\"", "Conv", "conv",
    "c.o/n*v", "%n%s", "\t",         "\xff*/?\?/", "module",       "int",           "0",    "$finish;//",
    "\\\n",    "..",   "\r\n//*/",   "\x01\x02/",  "\xe2\x80\xae", "'\"'"};
enum { N_NAMES = sizeof names / sizeof names[0] };

static int __attribute__((format(printf, 1, 2))) shell(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command);
}

/* Layer after layer of 1 x 1, each with its own names of result, weights and bias. */
static void net_of_names(random_net *t)
{
    qn_graph *g = net_start(t, 5);
    char x[64] = "in?\?/\n*/", y[64], w[80], in[200];
    qn_test_input(g, x, DIMS(-1, 2, 2, 2));
    net_code(t, x, NET_EXPONENT, 3, true);
    for (int i = 0; i < N_NAMES; i++) {
        snprintf(y, sizeof y, "%s", names[i]);
        snprintf(w, sizeof w, "w%s", y);
        net_coded(t, w, DIMS(2, 2, 1, 1), 0, net_weights_exponent(2), 8, false);
        snprintf(in, sizeof in, "%s %s", x, w);
        NODE(g, "Conv", in, y);
        net_code(t, y, NET_EXPONENT, 3, true);
        memcpy(x, y, sizeof x);
    }
    qn_test_output(g, x);
    const qn_arithmetic arithmetic = net_arithmetic(2);
    qn_assert_ok(qn_graph_set_arithmetic(g, &arithmetic, &t->err), &t->err);
}

static void builds(const char *directory, const char *tool, const char *command)
{
    if (shell("command -v %s >/dev/null", tool) != 0) {
        print_message("skipped: %s; there is no %s\n", command, tool);
    } else if (shell("cd '%s' && { %s; } >told 2>&1", directory, command) != 0) {
        (void)shell("tail -n 20 '%s/told'", directory);
        fail_msg("%s", command);
    }
}

static void test_names_are_words(void **state)
{
    (void)state;
    random_net t;
    char directory[600];
    net_of_names(&t);
    qn_tensor items = export_inputs(&t, 2);
    qn_dataset *set = NULL;
    qn_export_options options;
    qn_export_options_init(&options);
    qn_assert_ok(qn_export_targets_parse(&options.targets, "npz,c,hls,mem,verilog", &t.err), &t.err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &items, NULL, &t.err), &t.err);
    options.vectors = set;
    snprintf(directory, sizeof directory, "%s/names", qn_scratch());
    qn_assert_ok(qn_export(&t.model, directory, &options, NULL, &t.err), &t.err);
    qn_dataset_close(set);

    qn_export_check check;
    qn_assert_ok(qn_export_verify(&check, directory, NULL, NULL, &t.err), &t.err);
    if (check.n_differences != 0) {
        fail_msg("%s", check.text);
    }
    free(check.text);
    json_t *manifest = manifest_of(directory);
    assert_int_equal(json_array_size(json_object_get(manifest, "layers")), N_NAMES);
    json_decref(manifest);

    builds(directory, "gcc",
           "cd c && gcc -std=c99 -Wall -Wextra -Wconversion -pedantic -Werror -o ../run *.c && ../run");
    /* C++14 and before has trigraphs */
    builds(directory, "g++", "cd hls && g++ -std=c++11 -Wall -Wextra -Werror -o ../run *.cpp && ../run");
    builds(directory, "iverilog", "make -C verilog sim");
    qn_tensor_free(&items);
    net_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
