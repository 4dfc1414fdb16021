/* Verilog of random networks under Icarus Verilog: every code and every sum as the engine has them; and the core that
 * requantizes, against the definition. */
#include "export_dir.h"

#include <stdarg.h>

#include "export/verilog/verilog.h"

/* Sums in integers: what the cores have. */
static qn_arithmetic arithmetic_of(uint64_t i)
{
    static const qn_arithmetic list[] = {
        {.requantize = QN_REQUANTIZE_FIXED, .twice = true, .rounding = QN_ROUND_NEAREST_AWAY},
        {.requantize = QN_REQUANTIZE_SHIFT, .rounding = QN_ROUND_FLOOR, .accumulator_bits = 13, .saturate = true},
        {.requantize = QN_REQUANTIZE_DOUBLE_SHIFT, .rounding = QN_ROUND_NEAREST_UP, .accumulator_bits = 14},
        {.requantize = QN_REQUANTIZE_FIXED, .accumulator_bits = 12, .saturate = true},
        {.requantize = QN_REQUANTIZE_FIXED, .rounding = QN_ROUND_NEAREST_AWAY, .accumulator_bits = 12},
    };
    qn_arithmetic arithmetic = list[i % (sizeof list / sizeof list[0])];
    arithmetic.fixed_sums = true;
    return arithmetic;
}

/* What the networks were made of. */
typedef struct seen {
    int grouped, depthwise, dilated, strided, padded, uneven, decoded, saturating, wrapping, add, max, average, table,
        copy, gather;
} seen;

static void look(seen *s, const qn_export_network *n)
{
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        const qn_export_conv *conv = &layer->u.conv;
        s->add += layer->kind == QN_EXPORT_ADD;
        s->max += layer->kind == QN_EXPORT_MAX_POOL;
        s->average += layer->kind == QN_EXPORT_AVERAGE;
        s->table += layer->kind == QN_EXPORT_LOOKUP && layer->u.lookup.table != NULL;
        s->copy += layer->kind == QN_EXPORT_LOOKUP && layer->u.lookup.table == NULL;
        s->gather += layer->kind == QN_EXPORT_GATHER;
        if (layer->kind == QN_EXPORT_CONV) {
            s->grouped += conv->groups > 1 && conv->group_inputs > 1;
            s->depthwise += conv->groups > 1 && conv->group_inputs == 1;
            s->dilated += conv->dilation[0] > 1 && conv->kernel[0] > 1;
            s->strided += conv->stride[1] > 1;
            s->padded += conv->pad[0] > 0;
            s->uneven += qn_export_conv_uneven(conv);
            s->decoded += conv->decodes;
            s->saturating += conv->saturate;
            s->wrapping += !conv->saturate && conv->accumulator_bits < 32;
        }
    }
}

static int64_t clocks_of(const qn_export_network *n)
{
    int64_t clocks = 0;
    for (int i = 0; i < n->n_layers; i++) {
        clocks += qn_verilog_clocks(n, &n->layers[i]);
    }
    return clocks;
}

static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    assert_in_range(vsnprintf(command, sizeof command, format, args), 1, (int)sizeof command - 1);
    va_end(args);
    return system(command);
}

static int simulate(const char *directory, const char *bench)
{
    return run("cd '%s/verilog' && iverilog -g2005 -Wall -s %s -o ../%s.vvp tb/%s.v tb/quern_*.v rtl/*.v layers/*.v "
               "network.v >../log 2>&1 && [ ! -s ../log ] && vvp -N ../%s.vvp >../log 2>&1 || { cat ../log; exit 1; }",
               directory, bench, bench, bench, bench);
}

static void export_verilog(random_net *t, const char *directory, int n_items)
{
    qn_tensor items = export_inputs(t, n_items);
    qn_export_options options;
    qn_dataset *set = NULL;
    qn_export_options_init(&options);
    options.targets = 1u << QN_EXPORT_VERILOG;
    options.overwrite = true;
    qn_assert_ok(qn_dataset_of_tensor(&set, &items, NULL, &t->err), &t->err);
    options.vectors = set;
    qn_assert_ok(qn_export(&t->model, directory, &options, NULL, &t->err), &t->err);
    qn_dataset_close(set);
    qn_tensor_free(&items);
}

/* Networks small enough for a simulator that interprets. */
static void networks_are_the_engine(void **state)
{
    (void)state;
    const char *count = getenv("QN_VERILOG_NETWORKS");
    const int wanted = count != NULL ? atoi(count) : 10;
    seen s = {0};
    int n = 0;
    for (uint64_t seed = 0; n < wanted && seed < 100000; seed++) {
        random_net t;
        qn_export_network *network;
        const qn_arithmetic arithmetic = arithmetic_of((uint64_t)n);
        net_of_maps(&t, seed);
        qn_assert_ok(qn_graph_set_arithmetic(&t.model.graph, &arithmetic, &t.err), &t.err);
        const qn_status status = qn_export_network_make(&network, &t.model, &t.err);
        if (status == QN_ESHAPE) { /* a window that does not fit: drawn without looking */
            net_release(&t);
            continue;
        }
        qn_assert_ok(status, &t.err);
        if (clocks_of(network) < 30000) {
            look(&s, network);
            n++;
            char name[32]; /* each has its own: the log beside is not an export's, and would stay where it is */
            snprintf(name, sizeof name, "net%d", n);
            export_verilog(&t, qn_scratch_file(name), 2);
            if (simulate(qn_scratch_file(name), "tb_network") != 0) {
                fail_msg("network of seed %d differs", (int)seed);
            }
        }
        qn_export_network_free(network);
        net_release(&t);
    }
    assert_int_equal(n, wanted);
    const char *const names[] = {"grouped",    "depthwise", "dilated", "strided", "padded",  "uneven", "decoded",
                                 "saturating", "wrapping",  "add",     "max",     "average", "table"};
    const int counts[] = {s.grouped,    s.depthwise, s.dilated, s.strided, s.padded,  s.uneven, s.decoded,
                          s.saturating, s.wrapping,  s.add,     s.max,     s.average, s.table};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (counts[i] == 0) {
            fail_msg("no network has a layer that is %s", names[i]);
        }
    }
}

/* What random networks have not: copies, moves, sums with constants and along rows and columns, of a tensor with itself,
 * several outputs; one of them an input's neighbour. */
static void moves_and_broadcasts(void **state)
{
    (void)state;
    random_net t;
    qn_graph *g = net_start(&t, 5);
    const qn_arithmetic arithmetic = arithmetic_of(0);
    qn_test_input(g, "x", DIMS(-1, 3, 4, 5));
    net_code(&t, "x", NET_EXPONENT, 3, true);
    NODE_WITH(g, "MaxPool", "x", "m", A_INTS("kernel_shape", 3, 3), A_INTS("pads", 1, 1, 1, 1));
    NODE_WITH(g, "Concat", "x m", "cat", A_INT("axis", 2));
    net_code(&t, "cat", NET_EXPONENT, 3, true);
    net_coded(&t, "k", DIMS(1, 3, 1, 1), -1, NET_EXPONENT, 8, false);
    NODE(g, "Add", "cat k", "s");
    net_code(&t, "s", NET_EXPONENT + 1, -7, true);
    NODE(g, "GlobalAveragePool", "s", "gap");
    net_code(&t, "gap", NET_EXPONENT, 100, false);
    NODE(g, "Add", "s gap", "wide");
    net_code(&t, "wide", NET_EXPONENT + 1, 90, false);
    NODE(g, "Add", "wide wide", "twice");
    net_code(&t, "twice", NET_EXPONENT + 2, 12, true);
    NODE_WITH(g, "Transpose", "twice", "y", A_INTS("perm", 0, 2, 3, 1));
    qn_test_output(g, "y");
    qn_test_output(g, "gap");
    qn_test_output(g, "s");
    qn_assert_ok(qn_graph_set_arithmetic(g, &arithmetic, &t.err), &t.err);
    qn_export_network *network;
    seen s = {0};
    qn_assert_ok(qn_export_network_make(&network, &t.model, &t.err), &t.err);
    look(&s, network);
    assert_int_equal(s.copy, 2);
    assert_int_equal(s.add, 3);
    assert_int_equal(s.gather, 1);
    qn_export_network_free(network);
    export_verilog(&t, qn_scratch_file("moves"), 2);
    assert_int_equal(
        run("cd '%s/verilog' && make -s sim >../log 2>&1 || { cat ../log; exit 1; }", qn_scratch_file("moves")), 0);
    if (system("command -v verilator >/dev/null") == 0) {
        assert_int_equal(run("make -s -C '%s/verilog' lint", qn_scratch_file("moves")), 0);
    }
    net_release(&t);
}

/* A network that has all benches run, and fails in the layer of which a bit of a weight is another. */
static void benches_pass_and_fail(void **state)
{
    (void)state;
    random_net t;
    qn_export_network *network;
    uint64_t seed = 0;
    const qn_arithmetic arithmetic = arithmetic_of(0);
    for (;; seed++) {
        net_of_maps(&t, seed);
        qn_assert_ok(qn_graph_set_arithmetic(&t.model.graph, &arithmetic, &t.err), &t.err);
        qn_assert_ok(qn_export_network_make(&network, &t.model, &t.err), &t.err);
        if (clocks_of(network) < 20000) {
            break;
        }
        qn_export_network_free(network);
        net_release(&t);
    }
    const char *directory = qn_scratch_file("benches");
    export_verilog(&t, directory, 1);
    assert_int_equal(run("cd '%s/verilog' && make -s sim >../log 2>&1 || { cat ../log; exit 1; }", directory), 0);
    assert_int_equal(run("[ $(grep -c '^PASS: ' '%s/log') = %d ]", directory, network->n_layers + 1), 0);

    /* The first weight of the first layer: its lowest bit. */
    const char *id = network->layers[0].id;
    char file[64];
    const int lanes = qn_export_conv_lanes(&network->layers[0].u.conv);
    snprintf(file, sizeof file, lanes > 1 ? "%s.weights_x%d.mem" : "%s.weights.mem", id, lanes);
    assert_int_equal(run("cd '%s/mem' && awk '/^[0-9a-f]/ && !n++ { $0 = substr($0, 1, length($0) - 1) "
                         "substr(\"1032547698badcfe\", index(\"0123456789abcdef\", substr($0, length($0))), 1) } 1' "
                         "%s >x && ! cmp -s x %s && mv x %s",
                         directory, file, file, file),
                     0);
    assert_int_not_equal(run("cd '%s/verilog' && make -s sim >../log 2>&1", directory), 0);
    assert_int_equal(run("grep -q '^FAIL: layer %s, accumulator, vector 0, element [0-9]* (y [0-9]*, x [0-9]*, channel "
                         "[0-9]*): expected -\\{0,1\\}[0-9]*, found' '%s/log'",
                         id, directory),
                     0);
    assert_int_equal(
        run("grep -q '^FAIL: tb_%s$' '%s/log' && grep -q '^FAIL: tb_network$' '%s/log'", id, directory, directory), 0);
    assert_int_equal(run("[ $(grep -c '^PASS: ' '%s/log') = %d ]", directory, network->n_layers - 1), 0);
    qn_export_network_free(network);
    net_release(&t);
}

static __int128 floor_shift(__int128 n, int p)
{
    const __int128 d = (__int128)1 << p;
    return n >= 0 ? n / d : -((-n + d - 1) / d);
}

/* arithmetic.md 4.1: n / 2^p to an integer. */
static __int128 rounded(__int128 n, int p, int rounding)
{
    const __int128 d = (__int128)1 << p, low = floor_shift(n, p), twice_rest = 2 * (n - low * d);
    const bool up = rounding == 0   ? false
                    : rounding == 1 ? twice_rest >= d
                    : rounding == 2 ? twice_rest > d || (twice_rest == d && n > 0)
                                    : twice_rest > d || (twice_rest == d && low % 2 != 0);
    return low + up;
}

static __int128 saturated(__int128 x)
{
    return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x;
}

/* 4.2, 4.3; rounding 4: twice. */
static int32_t scaled(int32_t x, int32_t m, int p, int rounding)
{
    if (rounding < 4) {
        return (int32_t)(p > 0 ? saturated(rounded((__int128)x * m, p, rounding))
                               : saturated((__int128)x * m * ((__int128)1 << -p)));
    }
    const int e = 31 - p;
    const __int128 high = rounded(saturated((__int128)x * ((__int128)1 << (e > 0 ? e : 0))) * m, 31, 1);
    return (int32_t)(e < 0 ? rounded(high, -e, 2) : high);
}

static void requantization_is_as_defined(void **state)
{
    (void)state;
    enum { N = 3000 };
    uint64_t seed = 7;
    for (int rounding = 0; rounding < 5; rounding++) {
        FILE *f = fopen(qn_scratch_file("cases.mem"), "w");
        assert_non_null(f);
        for (int i = 0; i < N; i++) {
            const uint64_t r = qn_test_random(&seed);
            int32_t x = (int32_t)(uint32_t)(r >> 32) >> (r % 31);
            x = r % 17 == 0 ? INT32_MIN : r % 17 == 1 ? INT32_MAX : x;
            int32_t m = (int32_t)(qn_test_random(&seed) >> 33) >> (r >> 8) % 31;
            m = rounding == 4 ? m | 1 << 30 : r % 5 == 0 ? 1 : m;
            const int p =
                rounding == 4 ? 1 + (int)(qn_test_random(&seed) % 62) : (int)(qn_test_random(&seed) % 94) - 31;
            fprintf(f, "%08x%08x%02x%08x\n", (unsigned)x, (unsigned)m, (unsigned)p & 0xff,
                    (unsigned)scaled(x, m, p, rounding));
        }
        fclose(f);
        f = fopen(qn_scratch_file("tb.v"), "w");
        assert_non_null(f);
        fprintf(
            f,
            "module tb;\n"
            "    reg [103:0] cases[0:%d];\n"
            "    reg clk, rst, bad;\n"
            "    integer i, got;\n"
            "    wire valid, busy;\n"
            "    wire [31:0] y, want;\n"
            "    initial begin\n"
            "        $readmemh(\"%s\", cases);\n"
            "        clk = 0; rst = 1; bad = 0; got = 0; i = 0;\n"
            "        repeat (2) @(negedge clk);\n"
            "        rst = 0;\n"
            "        for (i = 0; i < %d; i = i + 1) @(negedge clk);\n"
            "        repeat (6) @(negedge clk);\n"
            "        if (bad || got != %d || busy) $stop;\n"
            "        $finish;\n"
            "    end\n"
            "    always #5 clk = !clk;\n"
            "    wire [103:0] now = cases[i];\n"
            "    quern_scale #(.ROUNDING(%d), .TAG_BITS(32)) dut (.clk(clk), .rst(rst), .in_valid(!rst && i < %d),\n"
            "        .in_x(now[103:72]), .in_multiplier(now[70:40]), .in_shift(now[39:32]), .in_tag(now[31:0]),\n"
            "        .out_valid(valid), .out_x(y), .out_tag(want), .busy(busy));\n"
            "    always @(negedge clk) if (valid) begin\n"
            "        got = got + 1;\n"
            "        if (y !== want && !bad) begin\n"
            "            bad = 1;\n"
            "            $display(\"result %%0d: %%h, expected %%h\", got, y, want);\n"
            "        end\n"
            "    end\n"
            "endmodule\n",
            N - 1, qn_scratch_file("cases.mem"), N, N, rounding, N);
        fclose(f);
        assert_int_equal(run("iverilog -g2005 -Wall -s tb -o '%s' '%s' '%s/src/export/verilog/rtl/quern_scale.v' && "
                             "vvp -N '%s'",
                             qn_scratch_file("tb.vvp"), qn_scratch_file("tb.v"), QN_SOURCE_DIR,
                             qn_scratch_file("tb.vvp")),
                         0);
    }
}

/* Whatever allocation fails: an error, no directory, nothing lost; and verify likewise. */
static void out_of_memory(void **state)
{
    (void)state;
    random_net t;
    const char *directory = qn_scratch_file("memory"), *made = qn_scratch_file("made");
    const qn_arithmetic arithmetic = arithmetic_of(0);
    net_of_maps(&t, 20);
    qn_assert_ok(qn_graph_set_arithmetic(&t.model.graph, &arithmetic, &t.err), &t.err);
    export_verilog(&t, made, 1);
    qn_tensor items = export_inputs(&t, 1);
    qn_export_options options;
    qn_dataset *set = NULL;
    qn_export_options_init(&options);
    options.targets = 1u << QN_EXPORT_VERILOG;
    qn_assert_ok(qn_dataset_of_tensor(&set, &items, NULL, &t.err), &t.err);
    options.vectors = set;
    qn_status status = QN_ENOMEM;
    int64_t n = 0;
    for (; status != QN_OK; n += 1 + n / 24) {
        qn_error err;
        qn_error_init(&err);
        qn_alloc_fail_after(n);
        status = qn_export(&t.model, directory, &options, NULL, &err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || (status == QN_ENOMEM && err.status == QN_ENOMEM));
        assert_int_equal(access(directory, F_OK) == 0, status == QN_OK);
    }
    assert_true(n > 100);
    status = QN_ENOMEM;
    for (n = 0; status != QN_OK; n += 1 + n / 24) {
        qn_error err;
        qn_error_init(&err);
        qn_export_check check;
        qn_alloc_fail_after(n);
        status = qn_export_verify(&check, made, NULL, NULL, &err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || (status == QN_ENOMEM && check.text == NULL));
        assert_true(status != QN_OK || check.n_differences == 0);
        free(check.text);
    }
    assert_true(n > 100);
    qn_dataset_close(set);
    qn_tensor_free(&items);
    net_release(&t);
}

int main(void)
{
    if (system("command -v iverilog >/dev/null && command -v vvp >/dev/null && command -v make >/dev/null") != 0) {
        printf("skipped: Verilog of exports; there is no iverilog or no make (packages iverilog, make)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requantization_is_as_defined),
        cmocka_unit_test(networks_are_the_engine),
        cmocka_unit_test(moves_and_broadcasts),
        cmocka_unit_test(benches_pass_and_fail),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
